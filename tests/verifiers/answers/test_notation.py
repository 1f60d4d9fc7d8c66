"""Answers typed with signs beyond ASCII: products, minuses, powers, fractions, letters of another width."""

import pytest

from verifiers.answers.grade import grade

SAME, OTHER, DOUBT = {True}, {False}, {None}
NOT_OTHER = SAME | DOUBT


@pytest.mark.parametrize(
    ("gold", "answer", "allowed"),
    [
        ("3*4", "3 \u00d7 4", SAME),
        ("3*4", "3 \u22c5 4", SAME),
        ("3*4", "3\u00b74", SAME),
        ("12", "3\u2219" + "4", SAME),
        ("12", "3 \u2715 4", SAME),
        ("12", "3 \u2716 4", SAME),
        ("12", "3 \u2a2f 4", SAME),
        ("12", "3\u22174", SAME),
        ("12", "3\uff0a4", SAME),
        ("12", "3\u20624", SAME),
        ("34", "3 \u00d7 4", OTHER),
        ("12", "3 \u00d7 5", OTHER),
        ("2*10^5", "2\u00d710^5", SAME),
        ("200000", "\uff12\u00d7\uff11\uff10^\uff15", SAME),
        ("200000", "2 \u00d7 10\u2075", SAME),
        ("6.02e23", "6.02\u00d710\u00b2\u00b3", SAME),
        ("6.02*10^8", "6.02\u00d710\u00b2\u00b3", OTHER),
        ("0.002", "2\u00d710\u207b\u00b3", SAME),
        ("1200", "1.2 x 10^3", SAME),
        ("1.2x10^3", "1200", SAME),
        ("1300", "1.2 x 10^3", OTHER),
        ("x^{10}", "x\u00b9\u2070", SAME),
        (r"\frac{1}{x}", "x\u207b\u00b9", SAME),
        ("12", "3 x 4", NOT_OTHER),
        ("3.4", "3\u00b74", DOUBT),
        ("3\u00b74", "3.4", DOUBT),
        ("3.4", "3*4", OTHER),
        ("3.5", "3\u00b74", OTHER),
        ("1,2", "1 \u2022 2", NOT_OTHER),
        ("-5", "\u22125", SAME),
        ("-5", "\u20105", SAME),
        ("-5", "\u20115", SAME),
        ("-5", "\ufe635", SAME),
        ("-5", "\u207b5", SAME),
        ("5", "\u22125", OTHER),
        ("5", "\u20145", NOT_OTHER),
        ("0.5", "1\u20442", SAME),
        ("0.5", "1\u22152", SAME),
        ("1.5", "1\u00b9\u2044\u2082", NOT_OTHER),
        ("0.8", "\u2158", SAME),
        ("3.875", "3\u215e", SAME),
        ("x^{2/3}", "x^\u2154", SAME),
        ("x^{4/5}", "x^\u2158", SAME),
        ("12", "\u200b12\u2060", SAME),
        ("12", "\ufeff12", SAME),
        ("3x", "3\U0001d465", SAME),
        ("12", "\U0001d7cf\U0001d7d0", SAME),
        ("5%", "\uff15\uff05", SAME),
        ("12 m/s^2", "12 m s\u207b\u00b2", NOT_OTHER),
        ("5/m", "5 m\u207b\u00b9", NOT_OTHER),
        ("5/m", "5 m^{-1}", NOT_OTHER),
        ("5 m/s", "5 m\u00b7s\u207b\u00b9", NOT_OTHER),
        ("5", "5 m\u00b7s\u207b\u00b9", NOT_OTHER),
        ("8.3 J/(mol K)", "8.3 J\u00b7mol\u207b\u00b9\u00b7K\u207b\u00b9", NOT_OTHER),
        ("3*10^8", "3\u00d710\u2078 m\u00b7s\u207b\u00b9", NOT_OTHER),
        ("3x*y^{-2}", "5x*y^{-2}", OTHER),
        ("90", "90\u2070", NOT_OTHER),
        ("90°", "90\u2070", NOT_OTHER),
        ("2.5", "2\u00b9/2", NOT_OTHER),
        ("8", "2\u2075\u207b\u00b2", NOT_OTHER),
        (r"2\sqrt[4]{5}", "2\u2074\u221a5", NOT_OTHER),
    ],
)
def test_signs_beyond_ascii(gold, answer, allowed):
    found = {grade(*pair, kind).verdict for pair in ((gold, answer), (answer, gold)) for kind in KINDS}
    assert found <= allowed


KINDS = ("number", "expression")
