"""What words around numbers mean to a reader of calculations; `operands` and `claims` use them.

A word too many in a list makes a verifier abstain; a word missing can make it call a right step wrong. So
doubtful words are in.
"""

import re

# "Half of 10 = 5": read without "half of", 10 = 5 would be a mistake.
BEFORE = frozenset(
    """
after before of times plus minus by than over twice half double triple thrice percent per divided
multiplied squared to from with sum product difference quotient square cube root ratio average mean
subtract add adding subtracting third quarter fourth fifth fifths thirds quarters fourths between
dozen hundred thousand million billion fraction negative log sin cos tan max min gcd lcm digit
digits function every each
""".split()
)
"""Words before an expression that may belong to it: "half of 10 = 5"."""

# "Adding 10 + 2 to it": the sum is a part of a larger calculation, and what follows need not equal it.
OPERATIVE = frozenset(
    """
if suppose whether unless times plus minus twice half double triple thrice percent divided
multiplied multiply multiplying divide dividing squared sum product difference quotient root cube
ratio subtract subtracts subtracted subtracting add adds added adding fraction negative log sin cos
tan gcd lcm dozen hundred thousand million billion digit digits power less fewer more
""".split()
)
"""Words that compute with a calculation they lead to ("half of the 10 + 2"), or only suppose it."""
OPERATIVE_OF = OPERATIVE | frozenset(
    """
third thirds quarter quarters fourth fourths fifth fifths sixth eighth tenth tenths average mean
square multiple multiples out maximum minimum max min function
""".split()
)
"""The same where an "of" stands between."""
GLUE = frozenset(
    """
the a an of to from by with his her their its my our these those this that and or than between over
into
""".split()
)
"""Words that bind a calculation to what stands before them."""

# "9 = 3 squared": read without "squared", 9 = 3 would be a mistake.
AFTER = frozenset(
    """
trillion k squared cubed factorial mod modulo remainder r with plus minus divided multiplied over
choose base percentage by
""".split()
)
"""Words after an expression that may belong to it: "= 3 squared"."""
AFTER_IF_NUMBER = frozenset("of to and or times per than".split())
"""The same before a number only: "= 2 of 5"."""
SCALES = {
    word: scale
    for scale, words in {
        2: "pair pairs half halves",
        3: "third thirds",
        4: "quarter quarters fourth fourths",
        5: "fifth fifths",
        10: "tenth tenths",
        12: "dozen dozens",
        100: "hundred hundreds percent cent cents",
        1000: "thousand thousands",
        10**6: "million millions",
        10**9: "billion billions",
    }.items()
    for word in words.split()
}
"""Words after a result that may scale it: "12 * 2 = 2 dozen"."""

COPULAS = frozenset(
    """
is are was were equals then so thus therefore that hence have has had hold holds get gets got means
""".split()
)

# "5 apples is 10": "is" ends the unit. "5 red apples" has the unit "red apples".
COUNTS = COPULAS | frozenset(
    """
two three four five six seven eight nine ten eleven twelve twice half double triple thrice third
thirds quarter quarters fourth fourths fifth fifths tenth tenths percentage squared cubed remainder
mod modulo choose plus minus divided multiplied over average equal because since if but while when
which
""".split()
)
"""Words that compute, or begin another thought: a quantity's unit holds none of them."""

SOFT = frozenset(
    """
dozen dozens hundred hundreds thousand thousands million millions billion billions pair pairs
percent times halves more than less fewer
""".split()
)
"""Words that may compute: an expression read over them can hold but not fail."""

# "Week 1 + Week 2 = 30": the 1 and the 2 name weeks.
ORDINALS = frozenset(
    """
week day year month hour stage level step round game class grade group box bag bus car store room
question part team phase trip season quarter chapter page number no case type option plan
age line verse item row
january february april june july august september october november december
""".split()
)
"""Words that make a name of the number after them: "Week 1 + Week 2"."""

# "The mistake is 2 + 2 = 5" states the relation in order to reject it.
HEDGES = frozenset(
    """
wrong false impossible try mod modulo remainder clock binary cannot instead unless error verify
thousand thousands million millions billion billions incorrect incorrectly mistake mistaken
mistakenly contradict contradicts contradicting contradiction contradictory assume assumes assumed
assuming assumption assumptions guess guesses guessed guessing check checks checked checking
hypothesis hypothetical hypothetically hypothesize claimed claims says think thinks thought tempted
improperly mistaking trial trying tries tried pretend
""".split()
)
"""A sentence with one of them may state what is not claimed, or in other units than it shows."""

NEAR_HEDGES = frozenset({"not", "no"})
"""The same for what follows in the clause."""
CONTRACTIONS = frozenset(
    verb + ending
    for verb in "is are was were do does did has have had ca wo would could should must need ai".split()
    for ending in ("n't", "n’t")
)

REFUTES = frozenset(
    """
≠ false contradict contradicts contradicting contradiction contradictory extraneous satisfy
satisfies satisfied satisfying satisfactory original incorrect incorrectly wrong impossible invalid
not error errors mistake mistakes
""".split()
)
"""A step with one of them may show a relation in order to reject it; `claims` looks closer."""

# "About 3.3": within half a unit of the last digit the value holds, instead of having to be exact.
ROUNDED = frozenset(
    """
about roughly nearly almost nearest around approx approximate approximates approximated
approximately approximation round rounds rounded rounding estimate estimates estimated estimating
estimation ≈
""".split()
)

GLUED_UNITS = frozenset(
    """
km m g kg kgs gms cm mm mg ml mL l L lb lbs oz ft in hr hrs h min mins s sec mph kmh kph mpg gb mb
am pm c k th st nd rd x
""".split()
)
"""Letters that stand straight after a number as a unit; others may be symbols: 2lw."""

ABBREVIATIONS = frozenset(
    """
lb lbs oz ft in min mins hr hrs sec secs sq yd yds mi mo yr yrs gal qt pt cm mm km kg approx vs no
mr mrs ms dr st
""".split()
)
"""A full stop after one of them ends no sentence while the line goes on in lower case or with a sign."""

DETERMINERS = frozenset("the that this each every per a his her their its our my any".split())
"""After one of them a noun names no number: "that day 24 / 2 clerks came", but "on day 24"."""
JOINING = frozenset("add adds added adding sum difference more less fewer total average".split())
"""Words that may join a calculation to one other quantity: "add 3 + 4 to it"."""
WEIGHED = re.compile(r"^'(?P<word>[a-z]+)' (?:precedes|between)$")
"""Reasons that a claim is loose for one word, which `explained` weighs against the value it claims."""
