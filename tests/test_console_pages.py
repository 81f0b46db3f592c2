"""The console's pages of the queue, of filters and of what happens, and what they cost."""

import pytest
from django.contrib.auth.models import Permission
from django.db import connection

from endpoints.models import AuditEntry, StaffBinding
from routing import stats
from routing.models import WorkerNode
from routing.queue import Presence, leave, report
from tests.traffic import record

QUEUE = "/admin/queue/"


@pytest.fixture
def sign_in(client, django_user_model):
    """Sign a member of staff in, who has these permissions and no others."""

    def sign_in(*codenames):
        member = django_user_model.objects.create_user("m", password="p", is_staff=True)
        member.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(member)
        return member

    return sign_in


# --- the queue


@pytest.fixture
def node(db):
    return WorkerNode.objects.create(name="box:7", version="0.1.0", held=12, slow=3)


@pytest.mark.parametrize("act", ["drain", "resume"])
def test_a_worker_is_drained_and_resumed_by_who_may(client, sign_in, node, act):
    WorkerNode.objects.update(drained=act == "resume")
    member = sign_in("view_lane", "view_endpoint", "see_all_workspaces")
    address = f"{QUEUE}worker/{node.pk}/{act}/"
    assert (client.get(address).status_code, client.post(address).status_code) == (405, 403)
    assert address not in client.get(QUEUE).content.decode()
    member.user_permissions.add(Permission.objects.get(codename="drain_workernode"))
    assert address in client.get(QUEUE).content.decode()
    assert client.post(address).status_code == 302
    assert WorkerNode.objects.get().drained == (act == "drain")
    assert AuditEntry.objects.filter(object_id=str(node.pk), actor_name="m").exists()


def test_who_is_bound_to_a_workspace_neither_sees_nor_drains_workers(client, sign_in, node, workspace):
    member = sign_in("view_lane", "view_endpoint", "drain_workernode")
    StaffBinding.objects.create(user=member, workspace=workspace)
    assert node.name not in client.get(QUEUE).content.decode()
    assert client.post(f"{QUEUE}worker/{node.pk}/drain/").status_code == 403
    assert not WorkerNode.objects.get().drained


def test_the_queue_takes_few_queries_with_many_workers(admin_client, node, django_assert_max_num_queries):
    WorkerNode.objects.bulk_create(WorkerNode(name=f"box:{n}", version="9") for n in range(30))
    with django_assert_max_num_queries(10):
        page = admin_client.get(QUEUE).content.decode()
    assert page.count("another than this page") == 30
    assert "3 / 128" in page


def test_a_worker_that_says_nothing_more_is_silent_and_then_forgotten(admin_client, node):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_workernode SET seen_at = now() - interval '30 seconds'")
    assert "silent" in admin_client.get(QUEUE).content.decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_workernode SET seen_at = now() - interval '2 hours'")
    assert node.name not in admin_client.get(QUEUE).content.decode()
    other = Presence(node.pk.__class__(int=1), "box:8", "0.1.0", 0, 0, None)
    assert report(other) is False
    leave(other.id)
    assert not WorkerNode.objects.exists()


def test_tables_are_shown_with_their_partitions_or_as_a_whole(workspace):
    record(workspace)
    assert {each.table for each in stats.stored()} == set(stats.TRAFFIC_TABLES)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parted (at int) PARTITION BY RANGE (at)")
        cursor.execute("CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (2)")
        cursor.execute("CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (2) TO (3)")
        cursor.execute(stats._STORED, [["parted", "no_such_table"], 10])
        assert [row[:3] for row in cursor.fetchall()] == [
            ("parted", "parted_2", "FOR VALUES FROM (2) TO (3)"),
            ("parted", "parted_1", "FOR VALUES FROM (1) TO (2)"),
        ]
