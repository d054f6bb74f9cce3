"""Airflow's utility modules, for imports that authors are used to."""
