"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const plots = [...document.querySelectorAll("svg.plot")];
  const { left, right, width } = document.body.dataset;
  const span = right - left;
  const frames = report.figures.map((one) => one.frame);
  const first = frames[0], last = frames[frames.length - 1];
  const at = (frame) => (first === last ? (+left + +right) / 2 : +left + ((frame - first) / (last - first)) * span);
  const info = Object.fromEntries(report.measures.map((one) => [one.name, one]));

  const valuesOf = (frame, name) =>
    info[name].of_face
      ? frame.faces.filter((face) => name in face.values).map((face) => [face.face, face.values[name]])
      : name in frame.values ? [["", frame.values[name]]] : [];

  const words = (frame, name, beside) => {
    const { digits, unit } = info[name];
    const text = (value) => value.toFixed(digits) + (unit ? " " + unit : "");
    const many = report.faces.length > 1;
    const own = valuesOf(frame, name).map(([face, value]) => (many && face ? face + " " : "") + text(value));
    const other = beside && !many ? valuesOf(frame, beside).map(([, value]) => " / " + text(value)) : [];
    return own.length ? own.join(", ") + other.join("") : "–";
  };

  const rest = plots.map((plot) => plot.closest(".measure").querySelector("output").textContent);
  const show = (index) => plots.forEach((plot, number) => {
    const cursor = plot.querySelector(".cursor");
    const output = plot.closest(".measure").querySelector("output");
    cursor.classList.toggle("on", index !== null);
    if (index === null) { output.textContent = rest[number]; return; }
    const x = at(frames[index]);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    output.textContent = frames[index] + ": " + words(report.figures[index], plot.dataset.measure, plot.dataset.beside);
  });

  for (const plot of plots) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * width;
      let nearest = 0;
      frames.forEach((frame, index) => { if (Math.abs(at(frame) - x) < Math.abs(at(frames[nearest]) - x)) nearest = index; });
      show(nearest);
    });
    plot.addEventListener("pointerleave", () => show(null));
  }
  for (const card of document.querySelectorAll(".frame")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "larger";
    button.addEventListener("click", () => {
      button.textContent = card.classList.toggle("large") ? "smaller" : "larger";
    });
    card.querySelector("header").append(button);
    const plate = card.querySelector("img[alt=plate]"), result = card.querySelector("img[alt=result]");
    if (!plate || !result) continue;
    const caption = result.parentElement.querySelector("figcaption"), own = result.src;
    const flip = (is_plate) => {
      result.src = is_plate ? plate.src : own;
      caption.textContent = is_plate ? "plate" : "result, plate while pressed";
    };
    result.classList.add("flips");
    result.draggable = false;
    result.addEventListener("pointerdown", () => flip(true));
    for (const kind of ["pointerup", "pointerleave", "pointercancel"]) result.addEventListener(kind, () => flip(false));
    flip(false);
  }
  document.body.dataset.ready = "yes";
})();
