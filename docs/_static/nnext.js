// What the theme leaves without a name or out of the keyboard's reach.
document.addEventListener("DOMContentLoaded", () => {
  for (const summary of document.querySelectorAll(".bd-sidebar-primary summary")) {
    const link = summary.closest("li")?.querySelector("a");
    summary.setAttribute("aria-label", link ? link.textContent.trim() : "…");
  }
  // On a phone wide pictures scroll, see nnext.css.
  for (const paragraph of document.querySelectorAll(".bd-article p:has(> img)")) {
    if (paragraph.scrollWidth > paragraph.clientWidth) paragraph.tabIndex = 0;
  }
});
