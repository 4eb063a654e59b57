"""What a person sees and clicks, in a real browser over a real `dap-pipeline dev`.

The pictures of the README are taken here: `make screenshots` names the folder in which they stay.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dap_pipeline.orchestration.home import environment_of
from dap_pipeline.sandbox.config import SandboxConfig
from dap_pipeline.sandbox.serve import RunningSandbox, running_sandbox
from dap_pipeline_tests.cli.running import clean_environment

from .dev_process import Ui, dev, until
from .school import settings_for

PICTURES = "DAP_PIPELINE_TEST_PICTURES"
PATIENCE = 60_000.0
SHOWN = (("canvas", "users"), ("canvas", "submissions"), ("catalog", "orders"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.begun_first,
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def chromium() -> str:
    """Debian's browser; playwright's own download is not used."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: .ci/run installs it")
        pytest.skip("no chromium here: on Debian, `apt install chromium` brings it")
    return path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    config = SandboxConfig(tmp_path_factory.mktemp("school"), rate_limits=False, rows=20_000)
    with running_sandbox(config) as running:
        yield running


@pytest.fixture(scope="module")
def ui(service: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("browser")
    settings = settings_for(service, folder)
    with dev(folder, clean_environment() | environment_of(settings)) as running:
        yield running


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A page of the UI; whatever it shows is searched for secrets when it is left."""

    def __init__(self, page: Page, port: int, secrets: tuple[str, ...]) -> None:
        self.page = page
        self._root = f"http://127.0.0.1:{port}"
        self._secrets = secrets

    def open(self, path: str) -> Page:
        self.search_for_secrets()
        self.page.goto(self._root + path)
        return self.page

    def picture(self, name: str) -> None:
        folder = os.environ.get(PICTURES)
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def search_for_secrets(self) -> None:
        shown = self.page.content()
        assert not [secret for secret in self._secrets if secret in shown]


@pytest.fixture
def visit(browser: Browser, ui: Ui, service: RunningSandbox) -> Iterator[Visit]:
    page = browser.new_page(viewport={"width": 1500, "height": 950}, timezone_id="UTC")
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    visit = Visit(page, ui.port, (service.client_secret, "Signature=", "eyJ"))
    yield visit
    visit.search_for_secrets()
    page.close()


@pytest.fixture(scope="module")
def clicked(browser: Browser, ui: Ui) -> list[str]:
    """The runs that the button started, one for each table."""
    runs = []
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    for namespace, table in SHOWN:
        page.goto(f"http://127.0.0.1:{ui.port}/assets/{namespace}/{table}")
        page.get_by_role("button", name="Materialize").first.click()
        view = page.get_by_role("link", name="View", exact=True)
        address = view.get_attribute("href")
        assert address
        runs.append(address.rpartition("/")[2])
    page.close()
    for run in runs:
        assert ui.ended(run, 120) == "SUCCESS"
    return runs


def test_the_lineage_leads_from_every_namespace_to_duckdb(visit: Visit) -> None:
    page = visit.open("/asset-groups")
    for group in ("canvas", "canvas_logs", "catalog", "duckdb"):
        box = page.locator("svg foreignObject", has_text=re.compile(rf"^{group}\d"))
        expect(box).to_have_count(1)
    expect(page.locator("svg path[marker-end]")).to_have_count(3)
    visit.picture("groups")


@pytest.mark.parametrize(("namespace", "table"), SHOWN)
def test_the_lineage_shows_a_table_with_its_duckdb_asset(
    visit: Visit, clicked: list[str], namespace: str, table: str
) -> None:
    page = visit.open(f"/assets/{namespace}/{table}?view=lineage")
    for kind in ("Parquet", "DuckDB"):
        box = page.locator("svg foreignObject", has_text=re.compile(f"^{table}.*{kind}$"))
        expect(box).to_have_count(1)
    # The other one leads to the picture of the namespace.
    expect(page.locator("svg path[marker-end]")).to_have_count(2)
    visit.picture("lineage")


def test_the_button_starts_a_run_whose_log_tells_the_load(visit: Visit, clicked: list[str]) -> None:
    page = visit.open(f"/runs/{clicked[0]}")
    expect(page.get_by_text("canvas.users was loaded", exact=False).first).to_be_visible()
    expect(page.get_by_text("ASSET_MATERIALIZATION").first).to_be_visible()
    visit.picture("run")


def test_the_asset_page_describes_the_columns(visit: Visit, clicked: list[str]) -> None:
    page = visit.open("/assets/canvas/users?view=overview")
    row = page.locator("tr", has_text=re.compile("^sortable_name"))
    expect(row).to_contain_text("Name of the user in the form used for sorting.")
    expect(row).to_contain_text("VARCHAR")
    state = page.locator("tr", has_text=re.compile("^workflow_state"))
    expect(state).to_contain_text("__dap_unspecified__")
    visit.picture("asset")


def test_the_asset_page_plots_the_loads(visit: Visit, clicked: list[str]) -> None:
    page = visit.open("/assets/canvas/users?view=overview")
    page.get_by_role("button", name="Plots").click()
    expect(page.get_by_text("dagster/row_count", exact=True)).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    visit.picture("plots")


def test_the_checks_stand_beside_the_table(visit: Visit, clicked: list[str]) -> None:
    page = visit.open("/assets/canvas/users?view=checks")
    for check in ("rows_are_whole", "values_are_known", "references_resolve"):
        expect(page.get_by_text(check, exact=True).first).to_be_visible()
    visit.picture("checks")


def test_a_table_is_registered_by_itself(visit: Visit, clicked: list[str], ui: Ui) -> None:
    assert until(lambda: ui.runs_that_made("duckdb", "canvas", "users") or None, 180)
    page = visit.open("/assets/duckdb/canvas/users?view=overview")
    expect(page.get_by_text("FROM canvas.users LIMIT 10").first).to_be_visible()
    visit.picture("registered")


def test_the_page_of_the_credentials_hides_the_secret(visit: Visit) -> None:
    page = visit.open("/locations/dap_pipeline/resources/dap")
    expect(page.get_by_text("client_secret").first).to_be_visible()
