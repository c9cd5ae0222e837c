"""A throw-away SLURM cluster on this machine: real munged, slurmctld and one slurmd per pretended node."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

CONFIG = Path("/etc/slurm/slurm.conf")
_NAME = "pseudomask-test"
_PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "squeue")
_CTLD_PORT, _NODE_PORT = 26817, 26900


def why_not() -> str | None:
    """Why no cluster can be started here; None if one can."""
    missing = [program for program in _PROGRAMS if shutil.which(program, path=_path()) is None]
    if missing:
        packages = "slurmctld slurmd slurm-client munge"
        return f"SLURM is not installed (no {', '.join(missing)}); on Debian: apt-get install {packages}"
    if os.geteuid() != 0:
        return "slurmd needs root"
    if CONFIG.is_symlink() and (not CONFIG.exists() or _NAME in CONFIG.read_text()):
        CONFIG.unlink()  # of a test that was killed
    if CONFIG.exists():
        return f"this machine has a SLURM of its own ({CONFIG})"
    return None


class Cluster:
    """Two nodes of two cores, partitions ``cpu`` (default) and ``gpu`` with one pretended GPU per node.

    ``slurm.conf`` must lie at its usual place: jobs of Snakemake's plugin drop every ``SLURM_`` variable.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start everything and wait until all nodes are idle."""
        for name in ("state", "spool/node0", "spool/node1", "log"):
            (self._folder / name).mkdir(parents=True)
        self._folder.chmod(0o755)
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        device = self._folder / "gpu"
        os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))  # a second /dev/null stands in for a GPU
        (self._folder / "gres.conf").write_text(
            "AutoDetect=off\n" + "".join(f"NodeName=node{n} Name=gpu Type=pretended File={device}\n" for n in (0, 1))
        )
        (self._folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        (self._folder / "slurm.conf").write_text(self._config())
        CONFIG.parent.mkdir(exist_ok=True)
        CONFIG.symlink_to(self._folder / "slurm.conf")
        socket_file = self._folder / "munge.socket"
        munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket_file}"]
        munged += [f"--pid-file={self._folder}/munged.pid", f"--log-file={self._folder}/log/munged.log"]
        self._daemon([*munged, f"--seed-file={self._folder}/munge.seed"])
        _wait(socket_file.exists, "munged")
        self.restart_controller()
        for node in (0, 1):
            self._daemon(["slurmd", "-D", "-N", f"node{node}"])
        _wait(lambda: self.run("sinfo", "-h", "-p", "cpu", "-t", "idle", "-o", "%D").strip() == "2", "idle nodes")

    def stop(self) -> None:
        """Stop the daemons and remove the link to the configuration."""
        subprocess.run(["scancel", "--user=root"], env=_environment(), check=False, capture_output=True, timeout=30)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
        CONFIG.unlink(missing_ok=True)

    def restart_controller(self) -> None:
        """Kill slurmctld if it runs, and start it from its saved state."""
        for daemon in [d for d in self._daemons if "slurmctld" in d.args]:  # type: ignore[operator]
            daemon.kill()
            daemon.wait()
            self._daemons.remove(daemon)
        self._daemon(["slurmctld", "-D"])
        _wait(lambda: "is UP" in self.run("scontrol", "ping"), "slurmctld")

    def run(self, *command: str) -> str:
        """What a SLURM command prints."""
        return subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False).stdout

    def jobs(self, state: str) -> list[tuple[str, str]]:
        """Ids and comments (rules) of jobs in a state such as ``RUNNING``."""
        lines = self.run("squeue", "-h", "-t", state, "-o", "%i %k").splitlines()
        return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[-1]) for line in lines]

    def ended(self) -> list[tuple[str, str]]:
        """Ids and states of jobs that ended in the last minutes."""
        lines = self.run("squeue", "-h", "-t", "all", "-o", "%i %T").splitlines()
        found = [(line.split()[0], line.split()[1]) for line in lines]
        return [(job, state) for job, state in found if state not in ("PENDING", "RUNNING", "COMPLETING")]

    def node_of(self, job: str) -> str:
        """Where a job ran."""
        return self.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%N").strip()

    def _daemon(self, command: list[str]) -> None:
        log = (self._folder / "log" / f"{command[0]}-{len(self._daemons)}.out").open("wb")
        # Beside this file the daemons look for gres.conf and cgroup.conf.
        environment = {**_environment(), "SLURM_CONF": str(self._folder / "slurm.conf")}
        mortal = ["setpriv", "--pdeathsig", "KILL", *command]  # a killed test leaves no daemon on the ports
        self._daemons.append(subprocess.Popen(mortal, env=environment, stdout=log, stderr=log, start_new_session=True))

    def _config(self) -> str:
        nodes = "".join(
            f"NodeName=node{n} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={_NODE_PORT + n} CPUs=2 "
            "RealMemory=16000 Gres=gpu:pretended:1 State=UNKNOWN\n"
            for n in (0, 1)
        )
        return f"""ClusterName={_NAME}
SlurmctldHost={socket.gethostname()}(127.0.0.1)
SlurmctldPort={_CTLD_PORT}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self._folder}/munge.socket
CredType=cred/munge
StateSaveLocation={self._folder}/state
SlurmdSpoolDir={self._folder}/spool/%n
SlurmctldPidFile={self._folder}/slurmctld.pid
SlurmdPidFile={self._folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=2
MinJobAge=3000
PropagateResourceLimits=NONE
AccountingStorageType=accounting_storage/none
{nodes}PartitionName=cpu Nodes=node0,node1 Default=YES MaxTime=60 State=UP
PartitionName=gpu Nodes=node0,node1 MaxTime=60 State=UP
"""


def _path() -> str:
    """Daemons lie in /usr/sbin, which is not everyone's search path."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": _path()}


def _wait(done: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come up in {seconds:.0f} s")
        time.sleep(0.2)
