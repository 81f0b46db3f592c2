// Comforts: every page works without them. Local times, copy buttons, and lists that keep up.

const EVERY_MS = 4000;
const { copy, copied, local } = document.body.dataset;

function comfort(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = `${local}: ${new Date(time.dateTime).toLocaleString(document.documentElement.lang)}`;
  }
  for (const text of root.querySelectorAll(".copyable")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = copy;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = copied;
    });
    text.after(button);
  }
}

function busy(place) {
  return place.contains(document.activeElement) || place.querySelector("details[open]");
}

async function keepUp() {
  const places = [...document.querySelectorAll("[data-live]")];
  if (document.hidden || places.length === 0) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (answer?.status === 403) location.reload(); // the link has ended
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelectorAll("[data-live]");
  if (fresh.length !== places.length) return;
  places.forEach((place, number) => {
    if (busy(place)) return;
    place.replaceChildren(...fresh[number].childNodes);
    comfort(place);
  });
}

comfort(document);
// A page that answers a form would send it again.
if (document.querySelector("[data-live]")) setInterval(keepUp, EVERY_MS);
