"""The four domains, their phases, and the two phases that only motion distinguishes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A clinical field. The scene of the same name draws it."""

    name: str
    procedure: str
    view: str
    phases: tuple[str, ...]
    pair: tuple[str, str]
    """Two phases with the same stills in a different order."""


DOMAINS = {
    domain.name: domain
    for domain in (
        Domain(
            name="laparoscopy",
            procedure="cholecystectomy",
            view="laparoscope",
            phases=("inspection", "dissection", "retraction", "coagulation", "irrigation"),
            pair=("dissection", "retraction"),
        ),
        Domain(
            name="endoscopy",
            procedure="colonoscopy",
            view="endoscope",
            phases=("insertion", "withdrawal", "inspection", "polypectomy", "washing"),
            pair=("insertion", "withdrawal"),
        ),
        Domain(
            name="cataract",
            procedure="phacoemulsification",
            view="microscope",
            phases=(
                "incision",
                "capsulorhexis",
                "nucleus-removal",
                "aspiration",
                "polishing",
                "implantation",
            ),
            pair=("aspiration", "polishing"),
        ),
        Domain(
            name="robotic",
            procedure="prostatectomy",
            view="left",
            phases=("inspection", "dissection", "needle-driving", "thread-pulling", "coagulation"),
            pair=("needle-driving", "thread-pulling"),
        ),
    )
}
