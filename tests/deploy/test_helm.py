"""The chart, rendered with several values by helm itself."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.files import DEPLOY, VARIABLES, run_program
from tests.deploy.test_dist import VERSION

CHART = DEPLOY / "helm" / "seestack-ingest"
DATABASE = ("database.existingSecret=db",)
ALL = (
    *DATABASE, "autoscaling.enabled=true", "serviceMonitor.enabled=true", "networkPolicy.enabled=true",
    "tls.secretName=certificate", "tls.clientCa=true", "takeOver={spool-seestack-ingest-4,spool-seestack-ingest-5}",
    "ingress.enabled=true", "ingress.host=ingest.example.com", "settings.SEESTACK_GRACE_SECONDS=30.5",
    "settings.SEESTACK_RETENTION_DAYS=90", "image.repository=registry.example.com/seestack", "image.tag=1.2.3",
    "networkPolicy.monitoring[0].namespaceSelector.matchLabels.name=monitoring",
)  # fmt: skip


def render(*values: str) -> list[dict[str, Any]]:
    flags = [part for value in values for part in ("--set", value)]
    # A helm that was built from source takes itself for an old Kubernetes.
    text = run_program("helm", "template", "seestack-ingest", CHART, "--kube-version", "1.30.0", *flags)
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def pod_specs(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for document in documents:
        if document["kind"] in ("StatefulSet", "Job"):
            yield document["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def plain() -> list[dict[str, Any]]:
    return render(*DATABASE)


@pytest.fixture(scope="module")
def full() -> list[dict[str, Any]]:
    return render(*ALL)


def test_helm_finds_no_fault() -> None:
    run_program("helm", "lint", "--strict", CHART, "--kube-version", "1.30.0", "--set", DATABASE[0])


def test_the_chart_has_the_version_of_the_project() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)


def test_what_is_rendered_by_default(plain: list[dict[str, Any]]) -> None:
    kinds = sorted(document["kind"] for document in plain)
    assert kinds == ["PodDisruptionBudget", "Service", "Service", "ServiceAccount", "StatefulSet"]
    (stateful,) = of_kind(plain, "StatefulSet")
    assert stateful["spec"]["replicas"] == 2
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"seestack-ingest:{VERSION}"


def test_what_is_rendered_with_everything(full: list[dict[str, Any]]) -> None:
    kinds = {document["kind"] for document in full}
    assert {"HorizontalPodAutoscaler", "ServiceMonitor", "NetworkPolicy", "Job", "Ingress"} <= kinds
    (stateful,) = of_kind(full, "StatefulSet")
    assert "replicas" not in stateful["spec"], "the autoscaler would be undone by every upgrade"
    (autoscaler,) = of_kind(full, "HorizontalPodAutoscaler")
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == stateful["metadata"]["name"]
    assert [job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
            for job in of_kind(full, "Job")] == ["spool-seestack-ingest-4", "spool-seestack-ingest-5"]  # fmt: skip


@pytest.mark.parametrize("documents", ["plain", "full"])
def test_every_variable_is_a_setting(documents: str, request: pytest.FixtureRequest) -> None:
    for spec in pod_specs(request.getfixturevalue(documents)):
        variables = [variable["name"] for variable in spec["containers"][0]["env"]]
        assert len(variables) == len(set(variables))
        assert set(variables) <= VARIABLES


@pytest.mark.parametrize("documents", ["plain", "full"])
def test_pods_may_do_no_more_than_they_need(documents: str, request: pytest.FixtureRequest) -> None:
    for spec in pod_specs(request.getfixturevalue(documents)):
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        (container,) = spec["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_spool_is_on_a_volume_that_stays(plain: list[dict[str, Any]]) -> None:
    (stateful,) = of_kind(plain, "StatefulSet")
    (claim,) = stateful["spec"]["volumeClaimTemplates"]
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}[
        claim["metadata"]["name"]
    ] == "/data"
    assert stateful["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_services_and_policies_find_the_pods_and_their_ports(full: list[dict[str, Any]]) -> None:
    (stateful,) = of_kind(full, "StatefulSet")
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for port in stateful["spec"]["template"]["spec"]["containers"][0]["ports"]}
    services = of_kind(full, "Service")
    for service in services:
        assert service["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert stateful["spec"]["serviceName"] in {service["metadata"]["name"] for service in services}
    (budget,) = of_kind(full, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (policy,) = of_kind(full, "NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    (monitor,) = of_kind(full, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (watched,) = [service for service in services if wanted <= service["metadata"]["labels"].items()]
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in watched["spec"]["ports"]}


def test_a_pod_has_time_to_drain_and_to_finish(full: list[dict[str, Any]]) -> None:
    (stateful,) = of_kind(full, "StatefulSet")
    spec = stateful["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    drain_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    grace_s = {variable["name"]: variable.get("value") for variable in container["env"]}["SEESTACK_GRACE_SECONDS"]
    assert spec["terminationGracePeriodSeconds"] > drain_s + float(grace_s)


def test_a_claim_is_taken_over_with_the_settings_of_the_servers() -> None:
    documents = render(
        *DATABASE, "takeOver={gone}", "settings.SEESTACK_DISTRIBUTED=citus", "extraEnv[0].name=PGSSLMODE"
    )
    (job,) = of_kind(documents, "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert variables["SEESTACK_DISTRIBUTED"] == "citus"
    assert {"SEESTACK_DATABASE_URL", "PGSSLMODE"} < variables.keys()


def test_probes_ask_for_what_they_mean(plain: list[dict[str, Any]], full: list[dict[str, Any]]) -> None:
    for documents, scheme in ((plain, "HTTP"), (full, "HTTPS")):
        (stateful,) = of_kind(documents, "StatefulSet")
        (container,) = stateful["spec"]["template"]["spec"]["containers"]
        asked = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert [probe["path"] for probe in asked.values()] == ["/healthz", "/healthz", "/readyz"]
        assert {probe["scheme"] for probe in asked.values()} == {scheme}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "give database.existingSecret or database.url"),
        (("database.url=postgresql://a@b/c", "database.existingSecret=db"), "not both"),
        ((*DATABASE, "settings.SEESTACK_DATABASE_URL=postgresql://a@b/c"), "database.existingSecret"),
    ],
)
def test_wrong_values_are_refused(values: tuple[str, ...], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        render(*values)
