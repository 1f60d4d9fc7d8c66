r"""How chat models word their replies to a judge's prompt, in four parts.

The readers (`pipeline/annotators`) were mended on the first three. Figures are quoted on the last (`KEPT`), which was
written afterwards and on which nothing was mended before its figures were taken. In a
phrase `{k}` is the number of a step, `{calc}` a calculation of the solution, `{true}` what it should give,
`{v}` a verdict, and `{list}` several numbers.
"""

# ruff: noqa: E501 - a phrase is one line, as a model writes it
from collections.abc import Mapping, Sequence

from benchmarks.reply_phrases_more import KEPT, THIRD

Phrases = Mapping[str, Sequence[str]]

FIRST: Phrases = {
    "open": (
        "I'll go through the solution paragraph by paragraph.",
        "To find the earliest error, let's analyze each paragraph of the solution.",
        "## Review of the solution\n\nI compare every claim with the problem statement.",
        "Let's break this down. I will put the index of the first wrong paragraph in \\boxed{} at the end.",
        "Sure! Here's a careful review of the given solution:",
    ),
    "right": (
        "The calculation {calc} checks out.",
        "{calc} is computed correctly, and it follows from the previous paragraph.",
        "Here the author gets {calc}. I verified this and there is no error here.",
        "We have ${calc}$. This is right.",
        "It uses the result of the paragraph before. {calc}, which matches.",
        "No issues here: {calc}.",
    ),
    "right_plain": (
        "This restates what the problem gives us. No error.",
        "It sets up the quantities, consistent with the problem statement.",
        "Nothing is calculated here; the statement follows from the above.",
    ),
    "wrong": (
        "It claims {calc}, but the correct value is {true}. This is an error.",
        "The calculation {calc} is wrong: it should be {true}.",
        "Let me recompute: the result should be ${true}$, whereas the solution has ${calc}$. So this is incorrect.",
        "{calc} does not hold; one gets {true} instead. This is where the solution goes wrong.",
    ),
    "wrong_plain": (
        "This statement contradicts the problem. This is a mistake.",
        "This does not follow from the problem, so it is an error.",
    ),
    "none": (
        "All paragraphs are correct and the final answer follows.",
        "I checked every paragraph and found no errors.",
        "There are no errors in this solution.",
        "Since every step is valid, the solution contains no mistakes.",
        "Nothing is wrong with this solution.",
    ),
    "some": (
        "The earliest error occurs in paragraph {k}.",
        "Thus, the first error is in paragraph {k}.",
        "So paragraph {k} is the first paragraph that contains an error.",
        "The first mistake is made in step {k}.",
        "**Paragraph {k}** contains the first error.",
    ),
    "many": (
        "So the following paragraphs contain errors: {list}.",
        "In total these paragraphs are wrong: {list}.",
        "The paragraphs with errors of their own are {list}.",
    ),
    "again": (
        "Wait, let me double-check that.",
        "Hold on, I should recheck this.",
        "Hmm, actually, I need to look at that again.",
    ),
    "box": (
        "\\boxed{{v}}",
        "$\\boxed{{v}}$",
        "\\[\n\\boxed{{v}}\n\\]",
        "**Final Answer:** \\boxed{{v}}",
        "The final answer is: $\\boxed{{v}}$",
        "Therefore, the answer is $\\boxed{{v}}$.",
    ),
    "text_box": (
        "\\boxed{\\text{Paragraph {v}}}",
        "$\\boxed{\\text{paragraph } {v}}$",
        "\\[ \\boxed{\\text{step {v}}} \\]",
        "\\boxed{\\textbf{{v}}}",
    ),
    "none_box": ("\\boxed{-1}", "$\\boxed{\\text{-1}}$", "\\boxed{\\text{no error}}"),
    "last": ("**Answer:** {v}", "Verdict: paragraph {v}", "Final answer: {v}", "First error: step {v}"),
    "last_none": ("**Answer:** -1", "Verdict: -1", "Final answer: none", "First error: none"),
    "heading": (
        "### Paragraph {k}\n\n",
        "**Paragraph {k}:** ",
        "#### Paragraph {k}:\n",
        "**<paragraph_{k}>**\n",
    ),
    "item": ("- **Paragraph {k}**: ", "* Paragraph {k}: ", "- Paragraph {k} \u2192 "),
    "step_heading": (
        "## Step {j}: Check paragraph {k}\n",
        "## Step {j}: Review Paragraph {k}\n",
        "### Step {j}: Analyze <paragraph_{k}>\n",
    ),
    "words": ("correct/incorrect", "Correct/Incorrect", "right/wrong"),
    "verdict": (
        "Paragraph {k}: {v}",
        "**Paragraph {k}: {v}**",
        "**Verdict:** {v}",
        "Verdict for paragraph {k}: {v}",
        "\\boxed{{v}}",
        "Conclusion: **{v}**.",
    ),
    "quote": (
        "The solution's final answer is \\boxed{{true}}.",
        "The student concludes with $\\boxed{{true}}$.",
        "The final answer given is \\boxed{{true}}, which I compare with mine.",
    ),
    "after": (
        "Let me know if you'd like a corrected version of the solution!",
        "I hope this helps.",
        "*Note:* the later paragraphs depend on this one, so I stopped there.",
        "If you have any questions about this review, feel free to ask.",
    ),
    "corrected": (
        "With the corrected calculation, the final answer would be {true}.",
        "The correct answer to the problem is therefore {true}.",
        "(The rest of the solution inherits this, and the true result is {true}.)",
    ),
    "think": (
        "Okay, so I need to find the first error. Paragraph {k} looks off at first. \\boxed{{k}}? No, wait.",
        "Let me see. Maybe the first error is in paragraph {k}. Hmm, let me recompute. It's fine.",
        "Paragraph {k}: incorrect\n\nWait, I misread. That one is right.\n\nTotal score: 0.3",
    ),
    "foreign": (
        "\u6211\u9010\u6bb5\u68c0\u67e5\u4e86\u8fd9\u4e2a\u89e3\u7b54\u3002{calc}\u3002\u6700\u7ec8\u7b54\u6848\uff1a",
        "He revisado cada p\u00e1rrafo de la soluci\u00f3n. El c\u00e1lculo es {calc}. Por lo tanto, la respuesta es:",
        "Ich habe jeden Absatz gepr\u00fcft. Die Rechnung lautet {calc}. Die Antwort ist daher:",
    ),
    "json": ("first_error", "first_error_paragraph"),
    "total": (
        "Total score: {v}",
        "**Total score: {v}**",
        "**Total Score:** {v}",
        "### Total score: {v}",
        "The lowest score is for accuracy.\n\nTotal score: {v}",
    ),
    "line": ("Wrong paragraphs: {list}", "**Errors:** {list}", "Verdict: {list}"),
    "redo_open": ("", "Here is the solution:\n\n", "Let's solve it again.\n\n"),
    "refusal": (
        "I'm sorry, but I can't assist with that request.",
        "I cannot review this solution without more information.",
        "As an AI language model, I am unable to verify this.",
        "The problem statement is incomplete, so I can't determine whether the solution is correct.",
    ),
}  # fmt: skip

SECOND: Phrases = {
    "open": (
        "Let's verify the reasoning one paragraph at a time.",
        "I need to check whether each paragraph is mathematically sound.",
        "# Step-by-Step Evaluation\n\nBelow, each paragraph is examined against the problem.",
        "Okay, I'll examine the proposed solution closely and report the position of the earliest mistake.",
        "**Review**\n\nFirst, I will recompute every value myself.",
    ),
    "right": (
        "Computing: {calc}. \u2713",
        "That's accurate, since {calc}.",
        "The arithmetic \\({calc}\\) is verified; we move on to the next one.",
        "This paragraph says {calc}. I agree with it.",
        "Based on the preceding paragraph, {calc}. So far so good.",
        "Looks fine. {calc} holds.",
        "{calc} \u2014 the logic is sound and no mistakes are present in this paragraph.",
    ),
    "right_plain": (
        "The given information is transcribed faithfully.",
        "It only introduces the known numbers, which agree with the problem.",
        "A plain restatement, without any calculation to check.",
    ),
    "wrong": (
        "The paragraph states {calc}. However, the actual result is {true}, so there's a miscalculation.",
        "Here's the problem: {calc} should have been {true}.",
        "Checking \\({calc}\\): I obtain \\({true}\\). The two disagree, which means that this paragraph is flawed.",
        "That is an arithmetic error \u2014 {calc} is false, as the right-hand side ought to equal {true}.",
    ),
    "wrong_plain": (
        "The problem says otherwise; this assertion is unjustified and erroneous.",
        "This conclusion isn't supported by what precedes it. That's a logical error.",
    ),
    "none": (
        "After a thorough review, no mistakes were identified in any of the paragraphs.",
        "Every paragraph is accurate, so the whole solution is correct.",
        "The entire solution is free of errors.",
        "I could not find any errors in the solution.",
        "Overall, all steps of the solution are valid.",
    ),
    "some": (
        "Hence the earliest paragraph where an error occurs is paragraph {k}.",
        "The first incorrect paragraph is paragraph {k}.",
        "This means that the first error appears in Paragraph {k}.",
        "Therefore the earliest error is located at step {k}.",
        "In conclusion, the solution first goes astray in paragraph {k}, which contains the earliest error.",
    ),
    "many": (
        "Errors were found in the following: {list}.",
        "To summarize, the erroneous paragraphs are {list}.",
        "My list of faulty paragraphs: {list}.",
    ),
    "again": (
        "On second thought, I made a slip in my own check.",
        "Actually, that was too hasty. Let me redo it.",
        "Correction: I misread the paragraph above.",
    ),
    "box": (
        "$$\\boxed{{v}}$$",
        "\\(\\boxed{{v}}\\)",
        "**$\\boxed{{v}}$**",
        "### Final Answer\n\n$$\n\\boxed{{v}}\n$$",
        "My answer: \\boxed{{v}}",
        "Thus, the final output is:\n\n\\[\\boxed{{v}}\\]",
        "```\n\\boxed{{v}}\n```",
    ),
    "text_box": (
        "$$\\boxed{\\mathrm{Paragraph\\ {v}}}$$",
        "\\boxed{\\text{<paragraph_{v}>}}",
        "\\(\\boxed{\\text{Step }{v}}\\)",
        "\\boxed{\\mathbf{{v}}}",
        "\\boxed{\\text{{v}}}",
    ),
    "none_box": ("$$\\boxed{-1}$$", "\\boxed{\\mathbf{-1}}", "\\(\\boxed{\\text{None}}\\)"),
    "last": ("**Final verdict: {v}**", "Conclusion: Paragraph {v}", "> Answer: {v}", "Result: step {v}."),
    "last_none": ("**Final verdict: -1**", "Conclusion: no errors", "> Answer: -1", "Result: none."),
    "heading": (
        "## Paragraph {k}:\n\n",
        "__Paragraph {k}__\n",
        "***Paragraph {k}.*** ",
        "`<paragraph_{k}>`: ",
        "Paragraph {k} \u2014 ",
    ),
    "item": ("+ **Paragraph {k}** \u2013 ", "\u2022 Paragraph {k}: ", "* **Paragraph {k}.** "),
    "step_heading": (
        "**Step {j}: Verify paragraph {k}**\n",
        "Step {j} - Examining Paragraph {k}:\n",
        "### {j}. Checking paragraph {k}\n",
    ),
    "words": ("valid/invalid", "CORRECT/INCORRECT", "Correct/Wrong"),
    "verdict": (
        "__Paragraph {k}: {v}__",
        "`Paragraph {k}: {v}`",
        "Paragraph {k} is **{v}**.",
        "**Judgement**: {v}",
        "\u2192 Paragraph {k}: {v}",
        "$\\boxed{\\text{{v}}}$",
        "So this paragraph is {v}.",
    ),
    "quote": (
        "At the end, the solution writes \\boxed{{true}}.",
        "The original answer is $\\boxed{{true}}$, and my own calculation must be compared with it.",
        "The author's result of \\(\\boxed{{true}}\\) is what has to be checked.",
    ),
    "after": (
        "Would you like me to walk through the remaining paragraphs?",
        "---\n\nHope that clears things up!",
        "Everything after that point builds on the same number.",
        "*This review considers only the mathematical content.*",
    ),
    "corrected": (
        "Had it been computed properly, the outcome would be {true}.",
        "The right value at the end is {true}, by the way.",
        "Fixing this would change the final result to {true}.",
    ),
    "think": (
        "Alright, the user wants the first wrong paragraph. I'd say {k}... \\boxed{{k}}. Hmm, not so fast.",
        "Paragraph {k} contains the first error, I guess? Let me recompute. No, the sum is okay.",
        "Draft:\n\nParagraph {k}: incorrect\nTotal score: 0.9\nNo, I must start over.",
    ),
    "foreign": (
        "J'ai v\u00e9rifi\u00e9 chaque paragraphe de la solution\u00a0: {calc}. Ma r\u00e9ponse finale est donc\u00a0:",
        "\u5404\u6bb5\u843d\u3092\u9806\u756a\u306b\u78ba\u8a8d\u3057\u307e\u3057\u305f\u3002{calc}\u3002\u3057\u305f\u304c\u3063\u3066\u3001\u7b54\u3048\u306f\u6b21\u306e\u901a\u308a\u3067\u3059\u3002",
        "\u042f \u043f\u0440\u043e\u0432\u0435\u0440\u0438\u043b \u043a\u0430\u0436\u0434\u044b\u0439 \u0430\u0431\u0437\u0430\u0446 \u0440\u0435\u0448\u0435\u043d\u0438\u044f: {calc}. \u041e\u0442\u0432\u0435\u0442:",
    ),
    "json": ("first_error", "first_error_index", "first_incorrect_paragraph"),
    "total": (
        "*Total score: {v}*",
        "Total score: **{v}**",
        "**Overall score:** {v}/1",
        "Total score = {v}",
        "Accuracy is the weakest criterion.\n\n---\n\n**Total score:** `{v}`",
    ),
    "line": ("Incorrect paragraphs: {list}.", "__Wrong paragraphs__: {list}", "Mistakes in: {list}"),
    "redo_open": ("", "Solution:\n", "Sure, here it is, worked out once more:\n\n"),
    "refusal": (
        "I apologize, but I'm not able to help with evaluating this.",
        "Unfortunately, I don't have enough context to judge the solution.",
        "Sorry, reviewing homework is against my guidelines.",
        "It is impossible for me to say whether any paragraph contains an error.",
    ),
}  # fmt: skip

PARTS: Mapping[str, Phrases] = {"first": FIRST, "second": SECOND, "third": THIRD, "kept": KEPT}
