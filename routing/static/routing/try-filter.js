// What a filter would have matched, shown beneath its form. Without this script it opens in a tab of its own.
const button = document.querySelector(".try-filter button");
const place = document.getElementById("tried");

button?.addEventListener("click", async (event) => {
  event.preventDefault();
  place.textContent = button.dataset.looking;
  button.disabled = true;
  try {
    const answer = await fetch(button.formAction, { method: "POST", body: new FormData(button.form) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("tried");
    if (found) place.replaceChildren(...found.childNodes);
    else place.textContent = button.dataset.answered.replace("%s", answer.status);
  } catch (error) {
    place.textContent = button.dataset.failed.replace("%s", error.message);
  } finally {
    button.disabled = false;
  }
});
