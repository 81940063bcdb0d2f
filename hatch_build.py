"""Builds `server/compiled` in place, when the project is installed and when a wheel is made of it.

Without a C compiler nothing is built, and the project is pure Python. `python hatch_build.py FOLDER` builds into a
folder instead, for instance with other CFLAGS.
"""

import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = (
    "server.compiled.batch_encoder",
    "server.compiled.group_pool",
    "server.compiled.row_aggregator",
    "server.compiled.row_totals",
)
ROOT = Path(__file__).parent


class CompiledBuildHook(BuildHookInterface[Any]):
    """Called by hatchling."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and tell hatchling what was built. `version` is "standard" for a wheel, "editable" for a venv."""
        if self.target_name != "wheel" or not build(ROOT):
            return
        build_data["artifacts"] += [f"/{library}" for library in libraries_of(Path())]
        if version == "standard":
            build_data["pure_python"] = False
            build_data["infer_tag"] = True


def build(folder: Path) -> bool:
    """Compile the modules into a folder; tell whether there is a compiler and what else it needs."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.errors import BaseError, CCompilerError

    with tempfile.TemporaryDirectory() as scratch:
        extensions = cythonize(
            [Extension(name, [str(ROOT / Path(*name.split(".")).with_suffix(".pyx"))]) for name in MODULES],
            build_dir=scratch,
            include_path=[str(ROOT)],
            compiler_directives={"language_level": "3", "cdivision": True},
            quiet=True,
        )
        command = Distribution({"name": "compiled", "ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder), scratch
        command.ensure_finalized()
        try:
            command.run()
        except (BaseError, CCompilerError) as error:
            for library in libraries_of(folder):
                library.unlink(missing_ok=True)  # it would be that of an earlier source
            sys.stderr.write(f"not compiled: {error}\n")
            return False
    return True


def libraries_of(folder: Path) -> list[Path]:
    """Return the files that `build` makes in a folder."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return [folder / (name.replace(".", "/") + suffix) for name in MODULES]


if __name__ == "__main__":
    sys.exit(not build(Path(sys.argv[1])))
