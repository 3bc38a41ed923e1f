# Everything here also works without make, in an activated environment: see "Check" in README.md.
FITS = -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
PYTHON := $(shell for p in python3.12 python3.13 python3.11 python3 python; do $$p $(FITS) && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/ready
CHAPTER = $(shell git ls-files 'chapters/**.ipynb')
PORT = 8000
UV = 0.13.9
# jupyter-book, without a grammar of addresses that takes two seconds to load and checks nothing of ours.
QUICKLY = import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_book.cli.main import main; main()

.PHONY: help book pdf test serve lab run lock clean
help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-8s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

# After a failure or Ctrl-C all is read anew: a picture cut short by a full disk would be taken for whole.
book: $(READY)  ## build the book into _build/html; any warning is an error
	@trap : INT; $(BIN)/python -c "$(QUICKLY)" build . -n -W --keep-going -q || { rm -rf _build/.doctrees _build/jupyter_execute 2>/dev/null; exit 1; }
	@echo "The book is built. Open _build/html/index.html, or run: make serve"

pdf: book  ## print the whole book into _build/book.pdf, with Chromium or Chrome
	@$(BIN)/python scripts/print_book.py

test: $(READY)  ## run every test and every notebook
	$(BIN)/pytest --nbval -n 2 --dist loadscope

serve: book  ## build and serve the book on this machine (PORT=8000)
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

lab: $(READY)  ## open the chapters in JupyterLab
	IPYTHONDIR="$(CURDIR)/ipython" $(BIN)/jupyter lab chapters

run: $(READY)  ## execute notebooks in place (CHAPTER=chapters/mnist/walkthrough.ipynb; all without it)
	$(BIN)/python scripts/run_notebooks.py $(CHAPTER)

lock: $(READY)  ## pin the newest versions that pyproject.toml allows into requirements.txt
	$(BIN)/pip install -q uv==$(UV)
	$(BIN)/uv pip compile pyproject.toml --group book --universal --python-version 3.11 --upgrade \
	    --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" -q -o requirements.txt

clean:  ## remove what can be made again
	rm -rf _build .venv .pytest_cache
	git clean -fdXq ipython

# A half-made environment has no `ready` file, so the next call makes it anew.
$(READY): requirements.txt pyproject.toml
	@$(or $(PYTHON),false) $(FITS) || { echo "No Python 3.11, 3.12 or 3.13 with venv found: install one (python.org, or apt install python3 python3-venv)."; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.txt || \
	    { echo "The packages were not installed, see above. They need a network and 3 GB of disk; then make begins anew."; exit 1; }
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python site/static_site.py  # KaTeX, so that later builds need no network
	@touch $@
