// Tabs as the ARIA practices describe them: arrows move between them, one of them is in the tab
// order.

/** Wires the tabs of the page. `onChoose` hears the name of the one that is opened. */
export function startTabs(first, onChoose) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const choose = (name, takeFocus) => {
    for (const tab of tabs) {
      const isChosen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
      if (isChosen && takeFocus) tab.focus();
    }
    onChoose(name);
  };
  const nameOf = (tab) => tab.id.replace("tab-", "");
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => choose(nameOf(tab), false));
    tab.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      choose(nameOf(tabs[(steps[event.key] + tabs.length) % tabs.length]), true);
    });
  });
  choose(first, false);
  return (name) => choose(name, false);
}
