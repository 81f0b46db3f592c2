"""The attacks on GraphQL and on the edge that the service is held to, and the tests that make each of them."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
DEAR = "test_graphql_hostile.py::test_no_hostile_query_costs_over_fifty_ordinary_ones"
BODIES = "test_graphql_limits.py::test_what_is_no_query_is_refused_before_anything_runs"
ATTACKS = {
    "H1 ten thousand aliases": [DEAR, "test_graphql_limits.py::test_an_expensive_query_is_refused_and_cheaply"],
    "H2 doubling fragments": [DEAR, "test_graphql_hostile.py::test_fragments_count_as_if_they_were_written_out"],
    "H3 200,000 tokens": [DEAR, "test_graphql_limits.py::test_a_body_over_the_limit_is_refused"],
    "H4 depth": [DEAR, "test_graphql_limits.py::test_a_query_may_be_as_deep_as_the_limit"],
    "H5 lists of lists of lists": ["test_graphql_limits.py::test_a_limit_in_a_variable_weighs_as_the_most"],
    "H6 conflicts, duplicates, directives": [DEAR],
    "H7 a batch": [BODIES],
    "H8 a rule of the specification that is off": ["test_graphql_http.py::test_a_rule_of_the_specification_is_active"],
    "H9 a mutation by GET": ["test_graphql_http.py::test_a_mutation_by_get_is_refused_whatever_is_accepted"],
    "H10 a mutation by URL, text or form": [
        "test_graphql_limits.py::test_the_url_is_not_looked_at",
        "test_graphql_limits.py::test_only_json_is_read",
    ],
    "H11 a fault with secrets in it": [
        "test_graphql_hostile.py::test_nothing_of_a_fault_is_told_but_where_the_log_has_it"
    ],
    "H12 suggestions and the schema for strangers": [
        "test_graphql_hostile.py::test_who_has_no_key_gets_no_suggestions",
        "test_graphql_hostile.py::test_where_there_is_no_editor_the_schema_is_told_to_who_has_a_key",
    ],
    "H13 JSON that is none": [BODIES],
    "H14 a thousand guesses in one request": [
        "test_rates.py::test_operations_inside_one_request_are_counted_each_and_so_are_the_rows_they_brought",
        "test_rates.py::test_wrong_keys_soon_cost_an_address_its_turn_whatever_it_says_of_itself",
    ],
    "H15 a query for each row": [
        "test_graphql_filters.py::test_what_hangs_on_what_hangs_on_a_row_takes_one_query_too",
        "test_lanes.py::test_lanes_are_read_with_the_same_few_queries_however_many",
    ],
    "H16 time": ["test_graphql_hostile.py::test_an_operation_ends_within_ten_seconds_of_the_databases_time"],
    "I1 requests that are none": ["test_server.py::test_what_is_no_request_is_answered_and_not_logged"],
    "I2 slow headers, bodies and readers": [
        "test_edge.py::test_a_client_that_drips_is_hung_up_on",
        "test_edge.py::test_a_client_that_does_not_take_its_answer_is_hung_up_on",
    ],
    "I3 Daphne-Root-Path": ["test_server.py::test_a_client_cannot_set_what_only_a_proxy_knows"],
    "I4 foreign hosts": ["test_edge.py::test_a_host_that_is_not_ours_is_refused_on_every_path"],
    "I5 addresses that headers make up": [
        "test_sign_in.py::test_what_headers_say_of_the_address_counts_for_nothing",
        "test_rates.py::test_wrong_keys_soon_cost_an_address_its_turn_whatever_it_says_of_itself",
    ],
    "I6 X_Forwarded_For": ["test_edge.py::test_where_a_socket_comes_from_is_what_a_trusted_proxy_says"],
    "I7 bodies over the limit": [
        "test_server.py::test_a_larger_declared_body_is_refused_before_it_is_sent",
        "test_server.py::test_a_chunked_body_is_refused_when_it_grows_too_large",
        "test_server.py::test_bodies_over_the_limit_take_no_memory",
    ],
    "I8 settings of production": ["test_edge.py::test_the_documented_settings_pass_djangos_checks_for_deployment"],
    "I9 guessing passwords": [
        "test_sign_in.py::test_who_guesses_is_locked_out_and_told_so_even_with_the_right_password",
        "test_sign_in.py::test_who_guesses_from_many_addresses_is_locked_out_of_all_of_them",
        "test_sign_in.py::test_others_are_not_locked_out_with_them",
    ],
    "I10 staff without a permission": [
        "test_admin_permissions.py::test_without_a_permission_no_page_of_a_model_opens_and_nothing_that_is_posted_counts",
        "test_admin_permissions.py::test_an_action_without_its_permission_does_nothing",
        "test_admin_workspaces.py::test_a_foreign_row_is_as_good_as_absent_and_nothing_changes",
    ],
    "I11 scripts in what the admin shows": [
        "test_admin_browser.py::test_no_page_of_a_model_runs_what_it_shows",
        "test_admin_browser.py::test_every_page_has_a_policy_that_allows_nothing_inline",
    ],
    "I12 what operators do is written down": [
        "test_audit.py::test_an_operators_change_is_in_the_log",
        "test_admin_permissions.py::test_a_secret_is_shown_to_who_has_the_permission_and_gives_the_password",
    ],
    "I13 headers with every answer": ["test_edge.py::test_every_answer_says_what_keeps_browsers_safe"],
    "I14 the editor in production": [
        "test_edge.py::test_in_production_plain_http_is_sent_to_https_and_the_editor_is_gone"
    ],
    "I15 rates": [
        "test_rates.py::test_two_processes_let_through_what_one_limit_allows",
        "test_rates.py::test_what_was_spent_is_known_to_the_next_process",
        "test_rates.py::test_a_clock_that_steps_frees_nothing",
    ],
    "I16 versions that are known to be unsafe": [
        "test_supply.py::test_nothing_is_older_than_its_floor",
        "test_supply.py::test_the_floor_is_not_below_what_is_known_to_be_unsafe",
    ],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_has_its_tests(attack: str) -> None:
    for test in ATTACKS[attack]:
        module, _, name = test.partition("::")
        functions = {node.name for node in ast.parse((TESTS / module).read_text()).body if hasattr(node, "name")}
        assert name in functions
