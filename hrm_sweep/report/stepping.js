// Each puzzle shows one step at a time and gets buttons, a slider and arrow keys. Nothing moves unless it is asked to,
// and where the reader wants little motion there is no button that plays.
const wantsLittleMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
let touched = null;

for (const puzzle of document.querySelectorAll(".puzzle")) {
  const steps = [...puzzle.querySelectorAll(".step")];
  let current = 0;
  let timer = null;

  const button = (text, label, action) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", action);
    return made;
  };
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = 1;
  slider.max = steps.length;
  slider.setAttribute("aria-label", "ACT step");
  const said = document.createElement("output");
  said.setAttribute("aria-live", "polite");

  const show = (step) => {
    current = Math.min(steps.length - 1, Math.max(0, step));
    steps.forEach((each, number) => { each.hidden = number !== current; });
    slider.value = current + 1;
    slider.setAttribute("aria-valuetext", `step ${current + 1} of ${steps.length}`);
    said.textContent = steps[current].dataset.told;
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "play";
  };
  const go = (step) => { stop(); showAll(false); show(step); };
  const play = button("play", "Play or pause", () => {
    if (timer !== null) { stop(); return; }
    showAll(false);
    if (current === steps.length - 1) show(0);
    play.textContent = "pause";
    timer = setInterval(() => {
      if (current === steps.length - 1) stop(); else show(current + 1);
    }, 700);
  });
  const all = button("all steps", "Show all steps", () => { stop(); showAll(!puzzle.classList.contains("all")); });
  const showAll = (yes) => {
    puzzle.classList.toggle("all", yes);
    all.setAttribute("aria-pressed", String(yes));
  };
  slider.addEventListener("input", () => go(slider.valueAsNumber - 1));

  const controls = document.createElement("div");
  controls.className = "controls";
  controls.append(
    button("‹", "Step before", () => go(current - 1)), slider, button("›", "Next step", () => go(current + 1)),
    ...(wantsLittleMotion ? [] : [play]), all, said,
  );
  puzzle.querySelector(".boards").before(controls);
  const player = { go, last: steps.length - 1, current: () => current };
  puzzle.addEventListener("pointerdown", () => { touched = player; });
  puzzle.addEventListener("focusin", () => { touched = player; });
  touched ??= player;
  puzzle.classList.add("stepped");
  showAll(false);
  show(0);
}

document.addEventListener("keydown", (event) => {
  if (touched === null || event.altKey || event.ctrlKey || event.metaKey) return;
  const to = {
    ArrowLeft: touched.current() - 1, ArrowRight: touched.current() + 1, Home: 0, End: touched.last,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  touched.go(to);
});
