"""`python -m spinner_scheduler`."""

from spinner_servicekit.app import run

from spinner_scheduler.app import main
from spinner_scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    run("scheduler", SchedulerSettings, main)
