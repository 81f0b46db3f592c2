// A page that shows how something goes on: a replay is read again until it has ended, a batch is followed by the next.
const goOn = document.getElementById("go-on");
if (goOn) {
  const next = setTimeout(() => goOn.submit(), 300);
  const stop = document.getElementById("stop");
  stop.hidden = false;
  stop.addEventListener("click", () => { clearTimeout(next); document.querySelector("progress").remove(); stop.remove(); });
}

async function follow() {
  const shown = document.getElementById("replay");
  if (!shown?.hasAttribute("data-running")) return;
  const answer = await fetch(location.href).catch(() => null);
  if (answer?.ok) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("replay");
    if (found) shown.replaceChildren(...found.childNodes);
    if (found && !found.hasAttribute("data-running")) shown.removeAttribute("data-running");
    document.dispatchEvent(new Event("console:shown"));
  }
  setTimeout(follow, 1500);
}
setTimeout(follow, 1500);
