// Three small conveniences; every page is complete without them.
(function () {
  "use strict";
  var root = document.documentElement;
  function stored() { try { return localStorage.getItem("theme"); } catch (e) { return null; } }
  function store(v) { try { localStorage.setItem("theme", v); } catch (e) { /* a file page may have no storage */ } }
  var saved = stored();
  if (saved) { root.dataset.theme = saved; }

  function dark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  function themeButton() {
    var button = document.getElementById("theme");
    if (!button) { return; }
    function label() { button.textContent = dark() ? "Light" : "Dark"; }
    button.hidden = false;
    label();
    button.addEventListener("click", function () {
      root.dataset.theme = dark() ? "light" : "dark";
      store(root.dataset.theme);
      label();
    });
  }

  function key(cell) {
    var text = cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent.trim();
    var number = parseFloat(text.replace(/,/g, ""));
    return isNaN(number) ? text.toLowerCase() : number;
  }
  function compare(a, b) {
    if (a === "" || b === "") { return a === b ? 0 : a === "" ? 1 : -1; }
    if (typeof a === typeof b) { return a < b ? -1 : a > b ? 1 : 0; }
    return typeof a === "number" ? -1 : 1;
  }
  function sortable(table) {
    var heads = table.tHead.rows[0].cells;
    Array.prototype.forEach.call(heads, function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      button.addEventListener("click", function () {
        var up = head.getAttribute("aria-sort") !== "ascending";
        Array.prototype.forEach.call(heads, function (h) { h.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        var body = table.tBodies[0];
        Array.prototype.slice.call(body.rows).sort(function (x, y) {
          return (up ? 1 : -1) * compare(key(x.cells[column]), key(y.cells[column]));
        }).forEach(function (row) { body.appendChild(row); });
      });
    });
  }

  function filters(box) {
    var rows = document.querySelectorAll("[data-verdict]");
    var count = box.querySelector("output");
    function apply() {
      var on = {}, shown = 0;
      box.querySelectorAll("input").forEach(function (i) { on[i.value] = i.checked; });
      rows.forEach(function (row) { row.hidden = !on[row.dataset.verdict]; shown += row.hidden ? 0 : 1; });
      count.textContent = shown + " of " + rows.length;
    }
    box.hidden = false;
    box.addEventListener("change", apply);
    apply();
  }

  document.addEventListener("DOMContentLoaded", function () {
    themeButton();
    document.querySelectorAll("table.sortable").forEach(sortable);
    document.querySelectorAll("fieldset.filter").forEach(filters);
  });
})();
