"""Large templates are read quickly."""

from carillon_core.domain.validity.template_syntax import MOST_PARTS, template_problems


def test_no_more_is_read_of_templates_than_a_fifth_of_a_second_allows() -> None:
    """Sixty headers of numbers took three seconds; the first that is too much is named, and none after it is read."""
    text = "{{ [" + "1," * (MOST_PARTS // 2 - 10) + "] }}"
    assert template_problems([("a", text)]) == ()
    problems = template_problems([("a", text), ("b", text), ("c", text), ("d", "{{ unknown }}")])
    assert [(p.path, p.message[:11]) for p in problems] == [("b", "is too long")]


def test_the_largest_template_is_read_in_little_time() -> None:
    """There is a name that fails in each of its thousands of tags, and the first is told."""
    assert len(template_problems([("spec.body", "{{ task.a }}" * (MOST_PARTS // 6))])) == 1
