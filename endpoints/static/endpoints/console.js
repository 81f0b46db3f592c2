// On all pages: times in the reader's own zone beside UTC, and a button that copies an id.
const script = document.currentScript;
const zone = Intl.DateTimeFormat(undefined, { timeZoneName: "short" });

function local(time) {
  const at = new Date(time.dateTime);
  if (time.dataset.local !== undefined || isNaN(at) || at.getTimezoneOffset() === 0) return;
  const name = zone.formatToParts(at).find((part) => part.type === "timeZoneName").value;
  const two = (number) => String(number).padStart(2, "0");
  const day = at.getDate() === at.getUTCDate() ? "" : `${two(at.getDate())}.${two(at.getMonth() + 1)}. `;
  time.dataset.local = `${day}${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())} ${name}`;
  const beside = document.createElement("small");
  beside.className = "local";
  beside.textContent = ` ${time.dataset.local}`;
  time.append(beside);
}

function copyable(code) {
  if (code.nextElementSibling?.classList.contains("copy")) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.setAttribute("aria-label", `${script.dataset.copy} ${code.textContent}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent.trim());
    button.dataset.done = "";
    setTimeout(() => delete button.dataset.done, 1500);
  });
  code.after(button);
}

// A menu is closed by a click beside it, and by Escape.
function close(event) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (event.key === "Escape" && menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    if (event.key === "Escape" || (event.type === "click" && !menu.contains(event.target))) menu.open = false;
  }
}
document.addEventListener("click", close);
document.addEventListener("keydown", close);

function dress() {
  document.querySelectorAll("time[datetime]").forEach(local);
  if (navigator.clipboard) document.querySelectorAll("code.id").forEach(copyable);
}
dress();
document.addEventListener("console:shown", dress);

// Where one is among the places is in sight, where not all of them have room.
const here = document.querySelector("#console-nav .places [aria-current]");
const follow = () => here?.parentElement.scrollTo({ left: here.offsetLeft - 60 });
follow();
addEventListener("resize", follow);

// Django's lists to choose from are made on load, with icons that have a label and no role; dates have fields with none.
addEventListener("load", () => {
  for (const icon of document.querySelectorAll("span.help-tooltip[aria-label]")) icon.setAttribute("role", "img");
  for (const field of document.querySelectorAll(".datetime input:not([aria-label])")) {
    field.setAttribute("aria-label", field.closest(".form-row").querySelector("label, legend").textContent);
  }
});
