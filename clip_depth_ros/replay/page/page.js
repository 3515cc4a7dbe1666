"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent) || {};
  const byId = (name) => document.getElementById(name);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const short = (value) => (value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString());

  // Charts over time: pointing reads the nearest values, and the strip's moment is marked in each.
  const charts = all("[data-curves]").map((figure) => {
    const curves = JSON.parse(figure.dataset.curves);
    const plot = figure.querySelector(".plot");
    const stretch = curves.end - curves.start || 1;
    const mark = (name, seconds) => {
      const line = plot.querySelector(`.${name}`);
      const inside = seconds !== null && seconds >= curves.start && seconds <= curves.end;
      line.classList.toggle("shown", inside);
      if (inside) {
        const at = `${(100 * (seconds - curves.start)) / stretch}%`;
        line.setAttribute("x1", at);
        line.setAttribute("x2", at);
      }
    };
    const readout = figure.querySelector(".readout");
    const secondsAt = (event) => {
      const box = plot.getBoundingClientRect();
      const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      return curves.start + part * stretch;
    };
    const area = figure.querySelector(".frame");
    area.addEventListener("pointermove", (event) => {
      const seconds = secondsAt(event);
      mark("pointed", seconds);
      const values = curves.series.map((one) => {
        const index = nearest(one.t, seconds);
        return `${one.name} ${short(one.v[index])}`;
      });
      readout.textContent = `${seconds.toFixed(2)} s: ${values.join(" · ")}`;
    });
    area.addEventListener("pointerleave", () => {
      mark("pointed", null);
      readout.textContent = "";
    });
    return { figure, mark, secondsAt, area };
  });

  function nearest(times, seconds) {
    let best = 0;
    for (let index = 1; index < times.length; index += 1) {
      if (Math.abs(times[index] - seconds) < Math.abs(times[best] - seconds)) best = index;
    }
    return best;
  }

  // The strip of frames.
  const strip = data.strip;
  const slider = byId("moment");
  let key = strip && strip.keys.length ? strip.keys[0] : null;
  let pointed = null; // where in the pictures, 0..1 each way

  function show() {
    const index = Number(slider.value);
    const frame = strip.frames[index];
    const depths = (key !== null && frame.depths[key]) || {};
    const sources = { rgb: frame.rgb, truth: frame.truth, depth: depths.depth, error: depths.error };
    const time = `${frame.t.toFixed(2)} s`;
    for (const figure of all("[data-tile]")) {
      const picture = figure.querySelector("img");
      const source = sources[figure.dataset.tile] || null;
      if (source && picture.getAttribute("src") !== source) picture.src = source;
      picture.alt = source ? `${figure.querySelector("figcaption").textContent} at ${time}` : "";
      picture.hidden = !source;
      figure.querySelector(".none").hidden = Boolean(source);
    }
    byId("moment-text").textContent = `${time} (${index + 1} of ${strip.frames.length})`;
    slider.setAttribute("aria-valuetext", `${time}, frame ${index + 1} of ${strip.frames.length}`);
    for (const chart of charts) {
      if (chart.figure.closest("#time")) chart.mark("moment", frame.t);
    }
    read(sources);
  }

  // Colours back to metres: depth pictures are stored without loss.
  const levels = new Map();
  if (strip) strip.palette.forEach((colour, index) => levels.set(parseInt(colour, 16), index));
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });

  async function levelAt(source, place) {
    if (!source) return null;
    const picture = new Image();
    picture.src = source;
    await picture.decode();
    canvas.width = canvas.height = 1;
    const column = Math.min(picture.naturalWidth - 1, Math.floor(place.x * picture.naturalWidth));
    const row = Math.min(picture.naturalHeight - 1, Math.floor(place.y * picture.naturalHeight));
    pen.clearRect(0, 0, 1, 1);
    pen.drawImage(picture, -column, -row);
    const [red, green, blue, opaque] = pen.getImageData(0, 0, 1, 1).data;
    const level = levels.get((red << 16) | (green << 8) | blue);
    return opaque && level !== undefined ? level : null;
  }

  let turn = 0;
  async function read(sources) {
    const line = byId("strip-reading");
    if (!pointed || !line) return;
    turn += 1;
    const mine = turn;
    const [depth, truth] = [await levelAt(sources.depth, pointed), await levelAt(sources.truth, pointed)];
    if (mine !== turn) return; // a later place is being read
    const last = strip.palette.length - 1;
    const metres = (level) => strip.near + (level / last) * (strip.far - strip.near);
    const text = (level) => {
      if (level === null) return "no reading";
      const bound = level === 0 ? "≤ " : level === last ? "≥ " : "";
      return `${bound}${metres(level).toFixed(2)} m`;
    };
    const parts = [`Predicted ${text(depth)}`];
    if (sources.truth) parts.push(`truth ${text(truth)}`);
    const within = (level) => level !== null && level > 0 && level < last;
    if (within(depth) && within(truth)) {
      const error = metres(depth) / metres(truth) - 1;
      parts.push(`${Math.abs(100 * error).toFixed(0)} % too ${error < 0 ? "near" : "far"}`);
    }
    line.textContent = parts.join(" · ");
  }

  function point(event) {
    const box = event.currentTarget.getBoundingClientRect();
    pointed = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
    if (pointed.x < 0 || pointed.x >= 1 || pointed.y < 0 || pointed.y >= 1) return;
    for (const cross of all(".cross")) {
      cross.hidden = false;
      cross.style.left = `${100 * pointed.x}%`;
      cross.style.top = `${100 * pointed.y}%`;
    }
    const frame = strip.frames[Number(slider.value)];
    read({ truth: frame.truth, ...((key !== null && frame.depths[key]) || {}) });
  }

  // Choosers: one run for the whole page, one live rate.
  function choosePanels(name, value) {
    for (const panel of all(`[data-${name}]`)) panel.hidden = panel.dataset[name] !== value;
  }

  const runChooser = byId("run");
  const keyChooser = byId("strip-key");
  function chooseKey(chosen) {
    if (!strip || !strip.keys.includes(chosen)) return;
    key = chosen;
    if (keyChooser) keyChooser.value = chosen;
    if (slider) show();
  }
  if (runChooser) {
    runChooser.addEventListener("change", () => {
      choosePanels("run", runChooser.value);
      chooseKey(data.runs[Number(runChooser.value)]);
    });
  }
  if (keyChooser) {
    keyChooser.addEventListener("change", () => {
      chooseKey(keyChooser.value);
      const index = data.runs.indexOf(keyChooser.value);
      if (runChooser && index >= 0) {
        runChooser.value = String(index);
        choosePanels("run", runChooser.value);
      }
    });
  }
  const rateChooser = byId("rate");
  if (rateChooser) rateChooser.addEventListener("change", () => choosePanels("rate", rateChooser.value));

  if (!slider) return;
  const step = (by) => {
    slider.value = String(Math.min(Number(slider.max), Math.max(0, Number(slider.value) + by)));
    show();
  };
  slider.addEventListener("input", show);
  for (const picture of all(".picture")) {
    picture.addEventListener("pointermove", point);
    picture.addEventListener("pointerdown", point);
  }
  for (const chart of charts) {
    if (!chart.figure.closest("#time")) continue;
    chart.area.classList.add("clickable");
    chart.area.addEventListener("click", (event) => {
      slider.value = String(nearest(strip.frames.map((frame) => frame.t), chart.secondsAt(event)));
      show();
    });
  }

  // Arrow keys move the moment wherever no control or scrolling box has the focus.
  document.addEventListener("keydown", (event) => {
    const plain = !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey);
    const free = !event.target.closest("input, select, button, a, summary, [tabindex]");
    if (plain && free && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      event.preventDefault();
      step(event.key === "ArrowLeft" ? -1 : 1);
    }
  });

  const play = byId("play");
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  play.addEventListener("click", () => {
    if (timer !== null) {
      stop();
      return;
    }
    if (slider.value === slider.max) slider.value = "0";
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      step(1);
      if (slider.value === slider.max) stop();
    }, 250);
  });
  show();
})();
