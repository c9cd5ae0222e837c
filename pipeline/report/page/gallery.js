
/* All images of a run: filter, sort, page through, and compare two layers of one. */
function startGallery(gallery) {
  const { images, stores, blocks, classes, ignore } = gallery;
  const names = Object.keys(stores);
  const stages = names.filter((name) => name !== "truth");
  const total = images.id.length;
  const SPARSE = 950;
  const KEPT_BLOCKS = 128;

  /* ---- unpacking ---- */

  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  async function inflate(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function blockOf(image) {
    let low = 0;
    let high = blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (blocks[middle].first <= image) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  const opened = new Map();

  function openBlock(index) {
    const found = opened.get(index) || inflate(bytesOf(blocks[index].layers)).then(
      (layers) => ({ layers, pictures: bytesOf(blocks[index].pictures) }));
    opened.delete(index);
    opened.set(index, found);
    if (opened.size > KEPT_BLOCKS) opened.delete(opened.keys().next().value);
    return found;
  }

  const heatSize = (shape) => [Math.ceil(shape[0] / 2), Math.ceil(shape[1] / 2)];

  /* Bitmap, masks by store and activation of one image. */
  async function unpack(image) {
    const index = blockOf(image);
    const block = await openBlock(index);
    let picture = 0;
    let at = 0;
    let found = null;
    for (let each = blocks[index].first; each <= image; each++) {
      const [width, height] = images.shape[each];
      const masks = {};
      for (const name of names) {
        if (stores[name].classes[each] === null) continue;
        masks[name] = block.layers.subarray(at, at + width * height);
        at += width * height;
      }
      let heat = null;
      if (images.heat[each]) {
        const [across, down] = heatSize(images.shape[each]);
        heat = block.layers.subarray(at, at + across * down);
        at += across * down;
      }
      if (each === image) {
        const file = new Blob([block.pictures.subarray(picture, picture + images.bytes[each])], { type: "image/webp" });
        found = { image, width, height, masks, heat, bitmap: await createImageBitmap(file) };
      }
      picture += images.bytes[each];
    }
    return found;
  }

  /* ---- colours ---- */

  const palettes = gallery.palettes;
  const differences = { extra: [230, 159, 0], missed: [0, 114, 178], swapped: [240, 228, 66], right: [128, 128, 128] };
  const unlabelled = [224, 224, 192];
  const css = (colour) => `rgb(${colour.join(" ")})`;
  const palette = () => palettes[$("palette").value];

  /* Colours (RGBA bytes) of a mask; sparse labels are all that is shown of it. */
  function maskColours(mask, sparse) {
    const colours = palette();
    const pixels = new Uint8ClampedArray(4 * mask.length);
    for (let at = 0; at < mask.length; at++) {
      const value = mask[at];
      if (sparse ? value === ignore : value === 0) continue;
      const colour = value === ignore ? unlabelled : colours[value];
      pixels[4 * at] = colour[0];
      pixels[4 * at + 1] = colour[1];
      pixels[4 * at + 2] = colour[2];
      pixels[4 * at + 3] = 255;
    }
    return pixels;
  }

  /* What a mask claims beyond the truth, misses of it, takes for another class, and has right. */
  function differenceColours(mask, truth) {
    const pixels = new Uint8ClampedArray(4 * mask.length);
    for (let at = 0; at < mask.length; at++) {
      const own = mask[at] === ignore ? 0 : mask[at];
      const right = truth[at];
      if (right === ignore || (own === 0 && right === 0)) continue;
      let kind = "swapped";
      if (own === right) kind = "right";
      else if (right === 0) kind = "extra";
      else if (own === 0) kind = "missed";
      pixels.set([...differences[kind], 255], 4 * at);
    }
    return pixels;
  }

  /* Activation from black over red and yellow to white. */
  function heatColours(heat) {
    const pixels = new Uint8ClampedArray(4 * heat.length);
    for (let at = 0; at < heat.length; at++) {
      const level = (3 * heat[at]) / gallery.heatLevels;
      pixels.set([255 * level, 255 * (level - 1), 255 * (level - 2), 255], 4 * at);
    }
    return pixels;
  }

  /* ---- drawing ---- */

  const isSparse = (name, image) => stores[name].ignored[image] > SPARSE;

  /* One layer over the picture, as a canvas `scale` times as large as the picture. */
  function drawn(item, layer, opacity, scale = 1) {
    const canvas = make("canvas", { ".width": item.width * scale, ".height": item.height * scale });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(item.bitmap, 0, 0, canvas.width, canvas.height);
    let pixels = null;
    let size = [item.width, item.height];
    if (layer === "activation" && item.heat) {
      pixels = heatColours(item.heat);
      size = heatSize(size);
    } else if (layer.startsWith("difference: ")) {
      const mask = item.masks[layer.slice(12)];
      if (mask && item.masks.truth) pixels = differenceColours(mask, item.masks.truth);
    } else if (item.masks[layer]) {
      pixels = maskColours(item.masks[layer], isSparse(layer, item.image));
    }
    if (pixels) {
      // Colours of classes stand out from a grey picture only.
      context.globalCompositeOperation = "saturation";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.globalCompositeOperation = "source-over";
      const small = make("canvas", { ".width": size[0], ".height": size[1] });
      small.getContext("2d").putImageData(new ImageData(pixels, ...size), 0, 0);
      context.globalAlpha = opacity;
      context.imageSmoothingEnabled = layer === "activation";
      context.drawImage(small, 0, 0, canvas.width, canvas.height);
    }
    return canvas;
  }

  /* Names of the layers an image has. */
  function layersOf(image) {
    const own = names.filter((name) => stores[name].classes[image] !== null);
    const known = stores.truth && stores.truth.classes[image] !== null;
    const heat = images.heat[image] ? ["activation"] : [];
    const differ = known ? own.filter((name) => name !== "truth").map((name) => `difference: ${name}`) : [];
    return ["image", ...heat, ...own, ...differ];
  }

  /* ---- choosing images ---- */

  const LAST = "*";
  const has = (name, image) => stores[name].classes[image] !== null;
  const lastStage = images.id.map((_, image) => stages.filter((name) => has(name, image)).pop());
  const stageOf = (image) => ($("stage").value === LAST ? lastStage[image] : $("stage").value);
  const before = (image, name) => stages.slice(0, stages.indexOf(name)).filter((each) => has(each, image)).pop();
  const lower = images.id.map((id) => id.toLowerCase());
  let chosen = [];
  let page = 0;

  function valueOf(image, kind) {
    const name = stageOf(image);
    return name === undefined ? null : stores[name][kind][image];
  }

  function gain(image) {
    const name = stageOf(image);
    const earlier = name === undefined ? undefined : before(image, name);
    if (earlier === undefined) return null;
    const values = [stores[name].iou[image], stores[earlier].iou[image]];
    return values.includes(null) ? null : values[0] - values[1];
  }

  function hasClass(image, index) {
    const where = $("where").value;
    const inTags = (images.tags[image] || []).includes(index);
    const inTruth = Boolean(stores.truth) && (stores.truth.classes[image] || []).includes(index);
    const inMask = (valueOf(image, "classes") || []).includes(index);
    return { any: inTags || inTruth || inMask, tags: inTags, truth: inTruth, mask: inMask }[where];
  }

  function hasWarning(image, kind) {
    const found = valueOf(image, "classes");
    if (!found) return false;
    if (kind === "empty") return found.length === 0;
    const tags = images.tags[image];
    if (!tags) return false;
    return kind === "tags" ? tags.some((tag) => !found.includes(tag)) : found.some((each) => !tags.includes(each));
  }

  /* A number between 0 and 1 that looks random and follows from the image. */
  const chance = (image) => ((Math.imul(image + 1, 2654435761) >>> 0) / 2 ** 32 + Math.sin(image) / 7) % 1;

  function rank(list) {
    const known = list.map((image) => valueOf(image, "iou")).filter((value) => value !== null).sort((a, b) => a - b);
    const median = known[known.length >> 1];
    const keys = {
      worst: (image) => valueOf(image, "iou"),
      best: (image) => negative(valueOf(image, "iou")),
      median: (image) => (valueOf(image, "iou") === null ? null : Math.abs(valueOf(image, "iou") - median)),
      better: (image) => negative(gain(image)),
      poorer: gain,
      changed: (image) => (gain(image) === null ? null : -Math.abs(gain(image))),
      ignored: (image) => negative(valueOf(image, "ignored")),
      random: chance,
    };
    const kind = $("sort").value;
    if (kind === "id") return list.sort((a, b) => (images.id[a] < images.id[b] ? -1 : 1));
    const key = new Map(list.map((image) => [image, keys[kind](image)]));
    return list.sort((a, b) => (key.get(a) ?? Infinity) - (key.get(b) ?? Infinity) || a - b);
  }

  const negative = (value) => (value === null ? null : -value);

  function choose() {
    const split = $("split").value;
    const stage = $("stage").value;
    const index = Number($("class").value);
    const warning = $("warning").value;
    const text = $("search").value.trim().toLowerCase();
    const list = [];
    for (let image = 0; image < total; image++) {
      if (split !== LAST && !images.splits[image].includes(Number(split))) continue;
      if (stage !== LAST && !has(stage, image)) continue;
      if (text && !lower[image].includes(text)) continue;
      if (index && !hasClass(image, index)) continue;
      if (warning && !hasWarning(image, warning)) continue;
      list.push(image);
    }
    chosen = rank(list);
    page = 0;
    return showPage();
  }

  /* ---- the grid ---- */

  const perPage = () => Number($("count").value);
  const pages = () => Math.max(1, Math.ceil(chosen.length / perPage()));
  let drawing = 0;

  function layerFor(image) {
    const show = $("show").value;
    const name = stageOf(image);
    if (show === "mask") return name || "image";
    if (show === "difference") return name ? `difference: ${name}` : "image";
    return show;
  }

  function caption(image) {
    const iou = valueOf(image, "iou");
    const tags = (images.tags[image] || []).map((tag) => classes[tag]).join(", ");
    return [iou === null ? "" : `IoU ${(iou / 10).toFixed(1)}`, tags].filter(Boolean).join(" · ");
  }

  async function showPage() {
    const ticket = ++drawing;
    page = Math.min(Math.max(0, page), pages() - 1);
    const first = page * perPage();
    const shown = chosen.slice(first, first + perPage());
    const range = chosen.length ? `${first + 1}–${first + shown.length} of ${chosen.length}` : "no image fits";
    $("previous").disabled = page === 0;
    $("next").disabled = page >= pages() - 1;
    const cards = shown.map((image) => {
      const card = make("button", { class: "card", type: "button", title: images.id[image], "data-image": image });
      card.append(make("canvas", { ".width": 1, ".height": 1 }), make("span", {}, images.id[image]));
      card.append(make("span", { class: "note" }, caption(image) || " "));
      card.onclick = () => openViewer(image);
      return card;
    });
    $("grid").replaceChildren(...cards);
    const opacity = $("opacity").value / 100;
    await Promise.all(shown.map(async (image, index) => {
      const item = await unpack(image);
      if (ticket === drawing) cards[index].firstChild.replaceWith(drawn(item, layerFor(image), opacity));
    }));
    if (ticket === drawing) $("place").textContent = range;
  }

  function turn(step) {
    page += step;
    return showPage();
  }

  function showLegend() {
    const key = (colour, text) => {
      const box = make("i");
      box.style.background = css(colour);
      return make("span", {}, box, text);
    };
    const difference = [[differences.extra, "claimed beyond the truth"], [differences.missed, "missed"],
      [differences.swapped, "another class"], [differences.right, "right"]];
    const known = classes.map((name, index) => [palette()[index], name]).slice(1);
    const shown = $("show").value === "difference" ? difference : [...known, [unlabelled, "ignored"]];
    $("legend").replaceChildren(...shown.map(([colour, text]) => key(colour, text)));
  }

  /* ---- one image ---- */

  let open = null;
  let sides = null;

  async function openViewer(image) {
    const item = await unpack(image);
    const layers = layersOf(image);
    const stage = stageOf(image);
    const last = layers.includes(stage) ? stage : layers[layers.length - 1];
    const earlier = stage && before(image, stage);
    const keep = (id, otherwise) => (open && layers.includes($(id).value) ? $(id).value : otherwise);
    const left = keep("left", layers.includes(earlier) ? earlier : "image");
    const right = keep("right", last);
    open = { item, layers };
    for (const [id, value] of [["left", left], ["right", right]]) {
      fill($(id), layers.map((name) => [name, name]));
      $(id).value = value;
    }
    $("viewer-title").textContent = images.id[image];
    showFacts(image);
    if (!$("viewer").open) $("viewer").showModal();
    drawSides();
    drawLayers();
    history.replaceState(null, "", `#image=${encodeURIComponent(images.id[image])}`);
  }

  function drawSides() {
    const { item } = open;
    const room = Math.min(window.innerWidth * 0.9, 900);
    const scale = Math.max(1, Math.min(room / item.width, (window.innerHeight * 0.6) / item.height));
    const opacity = $("viewer-opacity").value / 100;
    sides = ["left", "right"].map((id) => drawn(item, $(id).value, opacity, scale));
    $("canvas").width = sides[0].width;
    $("canvas").height = sides[0].height;
    drawBorder();
    for (const button of $("layers").children) button.classList.toggle("on", button.title === $("right").value);
  }

  function drawBorder() {
    const canvas = $("canvas");
    const context = canvas.getContext("2d");
    const border = Math.round((canvas.width * $("slider").value) / 1000);
    context.drawImage(sides[1], 0, 0);
    if (border) context.drawImage(sides[0], 0, 0, border, canvas.height, 0, 0, border, canvas.height);
    $("handle").style.left = `${$("slider").value / 10}%`;
  }

  function drawLayers() {
    const opacity = $("viewer-opacity").value / 100;
    $("layers").replaceChildren(...open.layers.map((name, index) => {
      const button = make("button", { type: "button", title: name }, drawn(open.item, name, opacity), `${index + 1} ${name}`);
      button.onclick = () => pick("right", name);
      button.classList.toggle("on", name === $("right").value);
      return button;
    }));
  }

  function pick(side, name) {
    $(side).value = name;
    drawSides();
  }

  function showFacts(image) {
    const classNames = (found) => (found || []).map((index) => classes[index]).join(", ") || "none";
    const share = (value) => (value === null ? "" : (value / 10).toFixed(1));
    const rows = names.filter((name) => has(name, image)).map((name) => [
      name, share(stores[name].iou[image]), share(stores[name].ignored[image]), classNames(stores[name].classes[image])]);
    const [width, height] = images.size[image];
    const splits = images.splits[image].map((index) => gallery.splits[index]).join(", ");
    const path = images.path[image];
    const start = path.startsWith("/") ? "file://" : data.base;
    const file = make("a", { href: start + path.split("/").map(encodeURIComponent).join("/") }, path);
    const tags = images.tags[image] === null ? "no tags" : classNames(images.tags[image]);
    const header = ["masks", "IoU %", "ignored %", "classes"].map((name) => make("th", {}, name));
    const shown = layersOf(image);
    const commands = Object.entries(data.commands).filter(([name]) => shown.includes(name)).map(([name, store]) => {
      const text = `pseudomask inspect ${store} ${quoted(images.id[image])}`;
      const copy = make("button", { type: "button" }, "copy");
      copy.onclick = () => navigator.clipboard && navigator.clipboard.writeText(text);
      return make("div", {}, `${name}: `, make("code", {}, text), " ", copy);
    });
    $("facts").replaceChildren(
      make("p", { class: "note" }, `${splits} · ${tags} · ${width} × ${height} · `, file),
      make("div", { class: "scroll" }, make("table", {}, make("tr", {}, ...header),
        ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell)))))),
      make("details", {}, make("summary", {}, "commands that show it again"), ...commands));
  }

  /* A word for the shell. */
  const quoted = (text) => (/^[\w.,/:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

  /* Which class lies under the pointer, on the side it is on. */
  function tell(event) {
    const box = $("canvas").getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    const { item } = open;
    const side = across < $("slider").value / 1000 ? "left" : "right";
    const mask = item.masks[$(side).value.replace("difference: ", "")];
    const place = Math.floor(down * item.height) * item.width + Math.floor(across * item.width);
    if (!mask || mask[place] === undefined) $("under").textContent = "";
    else $("under").textContent = `${side}: ${mask[place] === ignore ? "ignored" : classes[mask[place]]}`;
  }

  function drag(event) {
    const box = $("canvas").getBoundingClientRect();
    $("slider").value = (1000 * (event.clientX - box.left)) / box.width;
    drawBorder();
  }

  function step(by) {
    const place = chosen.indexOf(open.item.image) + by;
    if (place < 0 || place >= chosen.length) return;
    page = Math.floor(place / perPage());
    openViewer(chosen[place]);
  }

  function fromAddress() {
    if (!location.hash.startsWith("#image=")) return;
    const image = images.id.indexOf(decodeURIComponent(location.hash.slice(7)));
    if (image >= 0) openViewer(image);
  }

  /* ---- keys ---- */

  function move(id, by) {
    $(id).value = Number($(id).value) + by;
    $(id).dispatchEvent(new Event("input"));
  }

  function pressed(event) {
    const kind = event.target.type || "";
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.ctrlKey || event.altKey || event.metaKey || $("help").open) return;
    if (typing && (kind !== "range" || event.key.startsWith("Arrow"))) return;
    const viewing = $("viewer").open;
    const opacity = viewing ? "viewer-opacity" : "opacity";
    const actions = {
      ArrowLeft: () => (viewing ? step(-1) : turn(-1)),
      ArrowRight: () => (viewing ? step(1) : turn(1)),
      "/": () => !viewing && $("search").focus(),
      ",": () => viewing && move("slider", -50),
      ".": () => viewing && move("slider", 50),
      "-": () => move(opacity, -10),
      "+": () => move(opacity, 10),
      "=": () => move(opacity, 10),
      c: () => {
        $("palette").selectedIndex = ($("palette").selectedIndex + 1) % $("palette").length;
        recolour();
      },
      "?": () => $("help").showModal(),
    };
    const digit = /^Digit([1-9])$/.exec(event.code);
    if (digit && viewing && open.layers[digit[1] - 1]) pick(event.shiftKey ? "left" : "right", open.layers[digit[1] - 1]);
    else if (actions[event.key]) actions[event.key]();
    else return;
    event.preventDefault();
  }

  function recolour() {
    showLegend();
    if ($("viewer").open) {
      drawSides();
      drawLayers();
    }
    return showPage();
  }

  /* ---- wiring ---- */

  fill($("split"), [[LAST, "all"], ...gallery.splits.map((name, index) => [index, name])]);
  fill($("stage"), [[LAST, "last of each image"], ...stages.map((name) => [name, name])]);
  fill($("class"), [[0, "all"], ...classes.map((name, index) => [index, name]).slice(1)]);
  fill($("palette"), Object.keys(palettes).map((name) => [name, name]));
  if (!stores.truth) {
    for (const option of document.querySelectorAll("option[value=truth], option[value=difference]")) option.disabled = true;
    $("sort").value = "id";
  }
  for (const [id, value] of Object.entries(data.start || {})) $(id).value = value;
  for (const id of ["split", "stage", "sort", "class", "where", "warning"]) $(id).onchange = choose;
  $("search").oninput = choose;
  $("show").onchange = () => {
    showLegend();
    showPage();
  };
  $("palette").onchange = recolour;
  $("opacity").oninput = showPage;
  $("count").onchange = choose;
  $("previous").onclick = () => turn(-1);
  $("next").onclick = () => turn(1);
  $("help-button").onclick = () => $("help").showModal();
  $("slider").oninput = drawBorder;
  $("left").onchange = drawSides;
  $("right").onchange = drawSides;
  $("viewer-opacity").oninput = drawSides;
  $("viewer-previous").onclick = () => step(-1);
  $("viewer-next").onclick = () => step(1);
  $("viewer-close").onclick = () => $("viewer").close();
  $("viewer").onclose = () => {
    const image = open.item.image;
    open = null;
    history.replaceState(null, "", "#images");
    showPage().then(() => document.querySelector(`[data-image="${image}"]`)?.focus());
  };
  $("stagebox").onpointerdown = (event) => {
    $("stagebox").setPointerCapture(event.pointerId);
    drag(event);
  };
  $("stagebox").onpointermove = (event) => (event.buttons ? drag(event) : tell(event));
  window.onresize = () => $("viewer").open && drawSides();
  window.onhashchange = fromAddress;
  document.addEventListener("keydown", pressed);
  for (const button of document.querySelectorAll("button[data-warning]")) {
    button.onclick = () => {
      $("stage").value = button.dataset.stage;
      $("warning").value = button.dataset.warning;
      choose();
      $("images").scrollIntoView();
    };
  }
  const widest = Math.max(...images.shape.map((shape) => Math.max(...shape)).slice(0, 500));
  if (window.innerWidth > 640) $("grid").style.setProperty("--card", `${Math.min(Math.max(widest, 110), 200)}px`);
  showLegend();
  choose().then(fromAddress);
}

if (data.gallery) startGallery(data.gallery);
