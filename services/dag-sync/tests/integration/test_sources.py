"""E1: git repositories and object stores as bundles."""

import subprocess

import boto3
import pytest


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    done = subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_git_branch_is_followed_by_commit(sync, tools):
    root = sync.folder / "repository"
    (root / "spinner" / "dags").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / "spinner" / "dags" / "a.py").write_text(tools.dag("a"))
    (root / "elsewhere.py").write_text(tools.dag("not_mine"))
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    entry = {"name": "team", "kind": "git", "url": f"file://{root}", "subfolder": "spinner", "interval_seconds": 0.5}
    sync.bundles(entry, {"name": "gone", "kind": "git", "url": f"file://{sync.folder}/missing", "interval_seconds": 5})
    sync.start()
    before = tools.until(sync.current, "announced")
    assert set(before) == {"a"}
    (definition,) = sync.definitions()
    assert definition.bundle.version == git(root, "rev-parse", "HEAD")
    assert definition.relative_path == "dags/a.py"
    (root / "README.md").write_text("nothing for DAGs")
    (root / "spinner" / "dags" / "b.py").write_text(tools.dag("b"))
    git(root, "add", ".")
    git(root, "commit", "-qm", "two")
    tools.until(lambda: set(sync.current()) == {"a", "b"}, "the commit is live")
    assert sync.current()["a"] == before["a"]
    git(root, "reset", "-q", "--hard", "HEAD~1")
    tools.until(lambda: sync.current() == before, "the rollback is live")
    assert "missing" in tools.until(lambda: sync.errors().get("gone/."), "the lost repository").message


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_an_object_store_is_followed_by_its_objects(sync, tools, kind, request):
    if kind == "s3":
        server = request.getfixturevalue("s3_endpoint")
        keys = {"aws_access_key_id": server["access_key"], "aws_secret_access_key": server["secret_key"]}
        client = boto3.client("s3", endpoint_url=server["url"], region_name="us-east-1", **keys)
        bucket = f"dags-{sync.prefix.strip('-')}"
        client.create_bucket(Bucket=bucket)
        sync.environment = {
            "SPINNER_S3_ENDPOINT": server["url"],
            "AWS_ACCESS_KEY_ID": server["access_key"],
            "AWS_SECRET_ACCESS_KEY": server["secret_key"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        url = f"s3://{bucket}/team"

        def put(path, text):
            client.put_object(Bucket=bucket, Key=f"team/{path}", Body=text.encode())

        def delete(path):
            client.delete_object(Bucket=bucket, Key=f"team/{path}")
    else:
        root = sync.folder / "store"
        url = f"file://{root}"

        def put(path, text):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)

        def delete(path):
            (root / path).unlink()

    put("dags/a.py", tools.dag("a"))
    put("dags/b.py", tools.dag("b"))
    sync.bundles({"name": "store", "kind": "object-store", "url": url, "interval_seconds": 0.5})
    sync.start()
    before = tools.until(lambda: len(sync.current()) == 2 and sync.current(), "both are announced")
    put("dags/a.py", tools.dag("a", note="edited"))
    tools.until(lambda: sync.current()["a"] != before["a"], "the edit is live")
    delete("dags/b.py")
    tools.until(lambda: set(sync.current()) == {"a"}, "the removal is live")
    delete("dags/a.py")
    error = tools.until(lambda: sync.errors().get("store/."), "an empty prefix is an error")
    assert error.error_type == "BundleNotFound"
    assert set(sync.current()) == {"a"}
