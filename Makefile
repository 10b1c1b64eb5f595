# On a fresh machine: `make demo` and `make test`; `make bench DATA=folder` measures beside other tools (30 minutes).
# An active virtual or Conda environment is used as it is; otherwise everything goes into .venv.
ENVIRONMENT := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX),$(CURDIR)/.venv)
PYTHON := $(if $(VIRTUAL_ENV)$(CONDA_PREFIX),python,$(ENVIRONMENT)/bin/python)
# In the environment and named after this checkout: a new one of either installs again.
INSTALLED := $(ENVIRONMENT)/.fromzero$(subst /,-,$(CURDIR))

.PHONY: demo test bench data-given
demo: $(INSTALLED)
	$(PYTHON) -m app demo

# Two processes: most tests keep one core busy. Tests of one file share what it has trained.
test: $(INSTALLED)
	$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Nothing else should run beside it.
bench: data-given $(INSTALLED)
	$(PYTHON) -m benchmarks.tokenizing --data "$(DATA)"
	$(PYTHON) -m benchmarks.pretraining_speed --data "$(DATA)"
	$(PYTHON) -m benchmarks.masked_lm --data "$(DATA)" --minutes 5 --peer-minutes 5
	$(PYTHON) -m benchmarks.report

data-given:
	@[ -d "$(DATA)" ] || { echo "DATA must be the folder of the open sets: make bench DATA=folder" >&2; exit 2; }

$(INSTALLED): setup.cfg
	[ -d "$(ENVIRONMENT)" ] || python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --editable ".[samples,test]"
	touch "$@"
