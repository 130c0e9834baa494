"""A hub on this machine: the part of the Hugging Face Hub's HTTP protocol that its own clients need.

    with serve(root, cache) as hub:           # root/models/OWNER/NAME/…, root/datasets/OWNER/NAME/…
        subprocess.run(…, env={**os.environ, **hub.environment})

Repositories have commits, branches and tags; large files are kept in git LFS and sent from another address. What is
asked for is listed, faults can be set: see `Hub`. A client that has the token `TOKEN` may create repositories and
upload to them.
"""

from tests.hub.hub import TOKEN, Hub
from tests.hub.server import serve

__all__ = ["TOKEN", "Hub", "serve"]
