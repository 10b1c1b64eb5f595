# Two commands on a fresh machine: `make demo` and `make test`. An active virtual or Conda environment is used as it is;
# otherwise everything goes into .venv.
ENVIRONMENT := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX),$(CURDIR)/.venv)
PYTHON := $(if $(VIRTUAL_ENV)$(CONDA_PREFIX),python,$(ENVIRONMENT)/bin/python)
# In the environment and named after this checkout: a new one of either installs again.
INSTALLED := $(ENVIRONMENT)/.fromzero$(subst /,-,$(CURDIR))

.PHONY: demo test
demo: $(INSTALLED)
	$(PYTHON) -m app demo

test: $(INSTALLED)
	$(PYTHON) -m pytest

$(INSTALLED): setup.cfg
	[ -d "$(ENVIRONMENT)" ] || python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --editable ".[samples,test]"
	touch "$@"
