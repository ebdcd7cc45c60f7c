import pytest

from primus.errors import UsageError
from primus.launch.k8s.workload import LONGEST_NAME, dns_name, require_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("llama2_7B-pretrain", "llama2-7b-pretrain"),
        ("70B", "primus-70b"),
        ("-a-", "a"),
        ("Größe", "gr-e"),
        ("", "primus"),
    ],
)
def test_any_text_becomes_a_name_that_kubernetes_takes(text, name):
    assert dns_name(text) == name


def test_a_long_name_is_cut_and_does_not_end_with_a_dash():
    assert dns_name("a" * (LONGEST_NAME - 1) + "_b") == "a" * (LONGEST_NAME - 1)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a/../../nodes", "", "a b", "é", "-a", "a%2fb", "a\n"])
def test_a_name_that_could_lead_elsewhere_in_the_api_is_refused(name):
    with pytest.raises(UsageError, match="--workload-id"):
        require_name(name, "--workload-id")


def test_all_problems_of_a_workload_come_at_once(workload):
    with pytest.raises(UsageError) as error:
        workload(name="Tiny_1", memory="lots", nodes=("a", "b", "b"), environment={"A B": "1"}, image="")

    text = str(error.value)
    assert "tiny-1 would do" in text
    assert "--memory 'lots'" in text
    assert "--nodelist names 3 nodes, --replica asks for 1 pods" in text
    assert "names b more than once" in text
    assert "--env 'A B'" in text
    assert "--image ''" in text
