"""Pages of the site that live elsewhere in the repository, and links that work in both places; read by mkdocs.yml."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent

PAGES = {
    "config/README.md": "reference/config.md",
    "profiles/README.md": "reference/slurm-profile.md",
    "CONTRIBUTING.md": "reference/contributing.md",
    "CHANGELOG.md": "reference/changelog.md",
}
"""A file of the repository, and the page that it becomes."""

SHOWN = ("workflow/report/*.svg", "config/*.yaml", "config/examples/*.yaml", "profiles/*/*.yaml", "CITATION.cff")
"""Files that pages link to and that are copied to the site as they are."""

LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
"""The target of a relative link in Markdown, up to its anchor."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add those pages and files."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text()))
    for path in shown():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links as the site has them."""
    return LINK.sub(lambda link: relinked(link[1], page=page.file.src_uri), markdown)


def shown() -> list[str]:
    """The paths in the repository of the files that are copied."""
    return sorted(str(path.relative_to(ROOT)) for pattern in SHOWN for path in ROOT.glob(pattern))


def relinked(target: str, *, page: str) -> str:
    """A link of a page, which is relative to its file in the repository, relative to its place on the site.

    What the site does not hold stays as it is, and `mkdocs build --strict` refuses it.
    """
    homes = {site: path for path, site in PAGES.items()}
    home = homes.get(page, f"docs/{page}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
    if path in PAGES:
        place = PAGES[path]
    elif path.startswith("docs/"):
        place = path.removeprefix("docs/")
    elif path in shown():
        place = path
    else:
        return target
    return posixpath.relpath(place, posixpath.dirname(page) or ".")
