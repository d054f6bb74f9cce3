"""`python -m spinner_token_fetcher`."""

from spinner_servicekit.app import run

from spinner_token_fetcher.app import main
from spinner_token_fetcher.settings import TokenFetcherSettings

if __name__ == "__main__":
    run("token-fetcher", TokenFetcherSettings, main)
