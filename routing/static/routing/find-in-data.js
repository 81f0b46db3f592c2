// An event's data: what is looked for is unfolded and marked; Enter goes on to the next.
const form = document.querySelector(".tree .find");
const rows = [...document.querySelectorAll(".tree > details:first-of-type li")];

if (form && rows.length) {
  const [field, status] = [form.querySelector("input"), form.querySelector("[role=status]")];
  let found = [];
  let place = 0;
  form.hidden = false;
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    found = rows.filter((row) => {
      const hit = wanted !== "" && own(row).includes(wanted);
      row.toggleAttribute("data-found", hit);
      return hit;
    });
    found.forEach(unfold);
    status.textContent = wanted && form.dataset.textFound.replace("%s", found.length);
    place = -1;
    goOn();
  });
  field.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), goOn()));

  function goOn() {
    if (!found.length) return;
    found[place]?.removeAttribute("data-current");
    place = (place + 1) % found.length;
    rows.forEach((row) => row.toggleAttribute("data-current", row === found[place]));
    found[place].scrollIntoView({ block: "nearest" });
  }
}

// A row's name and value, without those of the rows in it.
function own(row) {
  return [...row.children].filter((part) => part.tagName !== "DETAILS").map((part) => part.textContent).join(" ").toLowerCase();
}

function unfold(row) {
  for (let around = row.parentElement.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
}
