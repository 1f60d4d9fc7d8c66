"""Chinese words of answers in the notation or the English words that the other readers know.

`12平方厘米` becomes `12 cm^2`, `3万` `3 wan`, `2或3` `2 or 3`, `无解` "no solution", `选B` `B`.
"""

import re

# Longer words first: 平方厘米 before 厘米 before 米.
_UNITS = {
    "厘米": "cm", "毫米": "mm", "千米": "km", "公里": "km", "分米": "dm", "米": "m",
    "千克": "kg", "公斤": "kg", "克": "g",
    "小时": "hours", "分钟": "minutes", "秒": "seconds", "天": "days", "周": "weeks", "毫升": "ml", "升": "l",
    "度": "degrees", "元": "yuan", "英里": "miles", "英尺": "feet", "英寸": "inches",
    "美元": "dollars", "美分": "cents", "磅": "pounds", "岁": "years old", "月": "months", "年": "years",
}  # fmt: skip
_LONGEST_FIRST = "|".join(sorted(_UNITS, key=len, reverse=True))
_MEASURED = re.compile(rf"(?<=[\d.}})$ ])\s*(?:(平方|立方)?({_LONGEST_FIRST}))(?:[/每]({_LONGEST_FIRST}))?$")
_COUNTED = re.compile(
    r"(?<=\d)\s*[个只人本页名种棵箱块次件条张支枝头匹辆位盒袋瓶杯组对双朵颗份项步层排道题]$"
)
"""What things are counted in: of 12个 and 12只 the number is the answer."""
_LARGE = re.compile(r"(?<=\d)\s*([万亿])")
_PERCENT = re.compile(r"百分之\s*(\d+(?:\.\d+)?)")
_WORDS = (
    (re.compile(r"\s*(?:或者?|或是)\s*"), " or "),
    (re.compile(r"\s*(?:和|与|以及)\s*"), " and "),
    (re.compile(r"\s*(?:且|并且|同时)\s*"), " and "),
    (re.compile(r"、"), ", "),
    (re.compile(r"^(?:方程)?无(?:实数|实|整数)?解$|^没有(?:实数)?解$|^空集$"), "no solution"),
    (re.compile(r"^(?:不存在)$"), "does not exist"),
    (re.compile(r"^(?:全体|所有|一切)实数$|^实数集$"), "all real numbers"),
    (re.compile(r"^(?:是|是的|对|对的|能|可以)$"), "yes"),
    (re.compile(r"^(?:正确|真|成立)$"), "true"),
    (re.compile(r"^(?:否|不是|不对|不能|不可以)$"), "no"),
    (re.compile(r"^(?:错|错误|假|不正确|不成立)$"), "false"),
)
_CJK = re.compile(r"[\u4e00-\u9fff、。]")
_CHOICE = re.compile(r"^[故因此所以本题应正确的最终答案选项择为是:\s]+(?=[(\[]?\s*[A-J](?![A-Za-z]))")
"""`故选B`, `正确答案是(C)`; not `不选B`."""


def is_chinese(text: str) -> bool:
    """Whether Chinese characters are in it."""
    return not text.isascii() and bool(_CJK.search(text))


def english(text: str) -> str:
    """The answer with the Chinese words that are known here in English; any other text as it is."""
    if not is_chinese(text):
        return text
    text = _PERCENT.sub(r"\1%", text.strip().rstrip("。"))
    text = _LARGE.sub(lambda match: " wan " if match[1] == "万" else " yi ", text).strip()
    text = _COUNTED.sub("", _MEASURED.sub(_unit, text))
    for pattern, word in _WORDS:
        text = pattern.sub(word, text)
    return text


def without_choosing(text: str) -> str:
    """A choice without the words that choose it."""
    return _CHOICE.sub("", text) if is_chinese(text) else text


def _unit(match: re.Match[str]) -> str:
    power = {"平方": "^2", "立方": "^3"}.get(match[1] or "", "")
    over = f"/{_UNITS[match[3]]}" if match[3] else ""
    return f" {_UNITS[match[2]]}{power}{over}"
