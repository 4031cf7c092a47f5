"""The model files that nspike ships; `weights/README.md` lists them and `weights/LICENSE` names their terms."""
