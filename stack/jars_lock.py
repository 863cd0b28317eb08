"""Make `kafka_jars.lock` anew, for another version of Kafka: `python -m stack.jars_lock > stack/kafka_jars.lock`.

`jgo` reads the POMs on Maven Central and says which jars one node of Kafka needs; their bytes, as they are there at
that moment, are what every later start is compared with.
"""

import hashlib
import pathlib
import tempfile

from jgo.maven import MavenContext, PythonResolver

from stack.jars import KAFKA_VERSION, MAVEN_CENTRAL

ROOTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",  # without a binder the broker logs nothing
)


def main() -> None:
    """Print one line a jar: its coordinate and its sha256, in alphabetical order."""
    with tempfile.TemporaryDirectory() as folder:
        resolver = PythonResolver()
        maven = MavenContext(
            resolver=resolver, repo_cache=pathlib.Path(folder), remote_repos={"central": MAVEN_CENTRAL}
        )
        inputs, others = resolver.resolve([maven.create_dependency(root) for root in ROOTS])
        needed = [one for one in (*inputs, *others) if one.scope in {None, "compile", "runtime"}]
        lines = {
            f"{one.groupId}:{one.artifactId}:{one.version}": pathlib.Path(one.artifact.resolve()) for one in needed
        }
        for coordinate, path in sorted(lines.items()):
            print(coordinate, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
