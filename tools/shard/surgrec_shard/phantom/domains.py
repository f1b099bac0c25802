"""The four domains: what is done in each, and which two of its phases only motion tells apart."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A kind of surgery. A scene of the same name draws it."""

    name: str
    procedure: str
    view: str
    phases: tuple[str, ...]
    pair: tuple[str, str]
    """Two phases with the same stills, told apart by how they follow each other."""


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
