"""SLURM's commands, as far as our scripts use them: the tests put them on PATH.

sbatch [--ntasks=N] [--array=A-B] SCRIPT WORD…    run a script here and now, once, or once for each number of an array
srun COMMAND…                                     start SLURM_NTASKS processes, end with the worst status
scontrol show hostnames …, scontrol requeue ID    name this machine; note the request in $FAKE_SLURM/requeued
"""

import os
import re
import subprocess
import sys
from pathlib import Path

TASK = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}  # what a batch script itself is


def sbatch(words: list[str]) -> int:
    options = dict(re.findall(r"--([\w-]+)=(\S+)", " ".join(words)))
    script, *arguments = [word for word in words if not word.startswith("--")]
    asked = re.findall(r"^#SBATCH (.*)", Path(script).read_text(), flags=re.MULTILINE)
    options = dict(re.findall(r"--([\w-]+)=(\S+)", " ".join(asked))) | options
    nodes = int(options.get("nodes", 1))
    count = int(options.get("ntasks", nodes * int(options.get("ntasks-per-node", 1))))
    job = {"SLURM_JOB_ID": "17", "SLURM_NNODES": str(nodes), "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NTASKS": str(count)}
    first, last = map(int, options["array"].split("-")) if "array" in options else (0, 0)
    running = []
    for number in range(first, last + 1):
        array = {"ID": number, "COUNT": last - first + 1, "MIN": first, "MAX": last, "STEP": 1}
        told = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in array.items()} if "array" in options else {}
        running.append(subprocess.Popen(["bash", script, *arguments], env={**os.environ, **job, **TASK, **told}))
    return max(process.wait() for process in running)


def srun(command: list[str]) -> int:
    count = int(os.environ["SLURM_NTASKS"])
    running = [
        subprocess.Popen(command, env={**os.environ, "SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)})
        for number in range(count)
    ]
    return max(abs(process.wait()) for process in running)


def scontrol(words: list[str]) -> int:
    if words[0] == "requeue":
        with Path(os.environ["FAKE_SLURM"], "requeued").open("a") as file:
            file.write(words[1] + "\n")
    else:
        print("127.0.0.1\n127.0.0.2")
    return 0


if __name__ == "__main__":
    sys.exit({"sbatch": sbatch, "srun": srun, "scontrol": scontrol}[sys.argv[1]](sys.argv[2:]))
