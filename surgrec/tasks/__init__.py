"""Task cards: the tasks of the benchmark as data. No torch.

Example:
    >>> card = read_card("cholec80-phase")
    >>> card.kind, card.split.names, card.split_kind, card.metric
    ('phases', ('tecno',), 'convention', 'macro_f1')
    >>> card.class_names[0], card.domain
    ('Preparation', 'laparoscopy')
"""

from surgrec.tasks._card import PAPER_DOMAINS, Protocol, SplitChoice, TaskCard
from surgrec.tasks._describe import describe_card, pretrained_encoders
from surgrec.tasks._markdown import cards_markdown
from surgrec.tasks._read import LEGACY, card_names, find_cards, read_card
from surgrec.tasks._terminal_table import print_card, print_cards

__all__ = [
    "LEGACY",
    "PAPER_DOMAINS",
    "Protocol",
    "SplitChoice",
    "TaskCard",
    "card_names",
    "cards_markdown",
    "describe_card",
    "find_cards",
    "pretrained_encoders",
    "print_card",
    "print_cards",
    "read_card",
]
