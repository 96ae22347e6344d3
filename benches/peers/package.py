#!/usr/bin/env python3
"""Packing, installing and updating beside what people use instead, in one run, interleaved: wall, CPU, memory, ratios.

    cargo build --release
    benches/peers/package.py [--tree DIR] [--pair OLD NEW] [--only pack|install|update] [--rounds 5] [--work DIR]

Without --tree or --pair, two trees are made of what this machine has: many small files, and few big ones. Updates are
those of a tree in which lines were put into some files, and of each pair. The peers come from Debian:
apt-get install pigz isal ostree casync zchunk time. One that is not installed is left out. On a busy machine the CPU seconds
are the firm figures, and of wall times the ratios of one run.
"""
import argparse, json, os, random, re, shutil, socket, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
TAR = "tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner"


def run(command, cwd=None):
    """Wall and CPU seconds, and the MiB of the largest process."""
    # By `time`: what this process has in memory would count for what it begins.
    start = time.monotonic()
    child = subprocess.run(["time", "-f", "\n%U %S %M", "sh", "-c", command], cwd=cwd, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True)
    wall = time.monotonic() - start
    if child.returncode:
        sys.exit(f"failed: {command}\n{child.stderr}")
    user, system, kib = child.stderr.split()[-3:]
    return wall, float(user) + float(system), int(kib) / 1024


def say(command):
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def table(title, peers, rounds, before):
    """Runs (name, command, reaches) in turns; ratios are to each peer's own run of the same round."""
    peers = [(name, command) for name, tool, command in peers if shutil.which(tool)]
    found = {name: [] for name, _ in peers}
    for turn in range(rounds + 1):
        for name, command in peers[turn % len(peers):] + peers[:turn % len(peers)]:
            before()
            result = run(command)
            if turn:  # the first is to warm up
                found[name].append(result)
    print(f"\n### {title}\n\n| | wall s: median [min..max] | CPU s | MiB | ours, wall: median [min..max] | ours, CPU |\n"
          "|---|---|---|---|---|---|")
    ours = found[peers[0][0]]
    middle = lambda values: sorted(values)[len(values) // 2]
    for name, results in found.items():
        wall, cpu, memory = zip(*results)
        walls = [a[0] / b[0] for a, b in zip(ours, results)]
        cpus = middle([a[1] / max(b[1], 1e-3) for a, b in zip(ours, results)])
        print(f"| {name} | {middle(wall):.2f} [{min(wall):.2f}..{max(wall):.2f}] | {middle(cpu):.2f} | {max(memory):.0f} | "
              f"{middle(walls):.2f} [{min(walls):.2f}..{max(walls):.2f}] | {cpus:.2f} |", flush=True)


def make_trees(work):
    """Many small files, and few big ones of which a third is random."""
    small, big = f"{work}/trees/small", f"{work}/trees/big"
    os.makedirs(small), os.makedirs(big)
    total = count = 0
    for root in ("/usr/lib/python3.11", "/usr/lib/python3", "/usr/share/perl", "/usr/share/zoneinfo", "/usr/include"):
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.islink(path) or total > 96 << 20 or count >= 4000:
                    continue
                to = f"{small}/{path.replace('/usr/', '')}"
                os.makedirs(os.path.dirname(to), exist_ok=True)
                shutil.copyfile(path, to)
                total, count = total + os.path.getsize(path), count + 1
    libraries = [os.path.join("/usr/lib/x86_64-linux-gnu", name) for name in os.listdir("/usr/lib/x86_64-linux-gnu")]
    libraries = sorted((path for path in libraries if os.path.isfile(path) and not os.path.islink(path)), key=os.path.getsize)
    with open(f"{big}/libraries", "wb") as out:
        while out.tell() < 330 << 20:
            for path in libraries[-40:]:
                out.write(open(path, "rb").read())
    for number in range(3):
        with open(f"{big}/random-{number}", "wb") as out:
            out.write(random.Random(number).randbytes(58 << 20))
    return [small, big]


def without_collisions(tree):
    """Takes out names that differ by case only, which packages do not hold."""
    for folder, folders, names in os.walk(tree):
        seen = set()
        for name in sorted(folders + names):
            if name.lower() in seen:
                path = os.path.join(folder, name)
                print(f"left out: {path} (another name differs by case only)", file=sys.stderr)
                shutil.rmtree(path) if name in folders else os.unlink(path)
                folders[:] = [one for one in folders if one != name]
            seen.add(name.lower())


SERVICE = """name = "bench"
version = "%s.0.0"
summary = "A tree"
category = "bench"
license = "MIT"
[roles.tree]
for = "peer"
min = 1
max = 1
platforms = ["any"]
[roles.tree.build]
copy = "tree/"
[roles.first]
for = "initiator"
min = 1
max = 1
platforms = ["any"]
[roles.first.build]
copy = "tree/"
"""


class Bench:
    def __init__(self, tree, work, deployctl, rounds):
        self.work, self.ours, self.rounds = tempfile.mkdtemp(dir=work), f"{deployctl} --state {{}}/state", rounds
        self.ours = self.ours.format(self.work)
        self.name = os.path.basename(tree.rstrip("/"))
        self.service(1, tree)
        say(f"{self.ours} init --name bench")
        self.package = self.build(1)

    def service(self, version, tree):
        folder = f"{self.work}/service-{version}"
        os.makedirs(folder)
        shutil.copytree(tree, f"{folder}/tree", symlinks=True)
        without_collisions(f"{folder}/tree")
        with open(f"{folder}/service.toml", "w") as out:
            out.write(SERVICE % version)

    def build(self, version):
        told = say(f"{self.ours} --format json build --service {self.work}/service-{version} --role tree "
                   f"--output {self.work}/built-{version}")
        built = json.loads(told)
        say(f"{self.ours} trust add build{version} deploy://{built['signer']} --may provide")
        return built

    def pack(self):
        tree, out = f"{self.work}/service-1/tree", f"{self.work}/out"
        tar = f"{TAR} -C {tree} -cf - ."
        peers = [("ours", "sh", f"{self.ours} build --service {self.work}/service-1 --role tree --output {out}/ours"),
                 ("tar, pigz -6 -p2", "pigz", f"{tar} | pigz -n -6 -p2 >{out}/pigz"),
                 ("tar, gzip -6", "gzip", f"{tar} | gzip -n -6 >{out}/gzip")]

        def before():
            shutil.rmtree(out, ignore_errors=True)
            os.makedirs(out)
        table(f"pack {self.name}", peers, self.rounds, before)
        before()
        run(f"{tar} | gzip -n -6 >{out}/gzip")
        print(f"\nsize: ours {self.package['package']['size']}, gzip -6 {os.path.getsize(out + '/gzip')}, "
              f"ratio {self.package['package']['size'] / os.path.getsize(out + '/gzip'):.4f}")
        shutil.rmtree(out)

    def install(self):
        target, package = f"{self.work}/target", self.package["package"]["file"]
        tree, old = f"{self.work}/service-1/tree", [0]
        ours = f"{self.ours} --yes install {package} --manifest {self.package['manifest']['file']} --root {target}"
        peers = [("ours", "sh", ours),
                 ("sha256sum, tar xzf, sync", "tar", f"sha256sum {package} && mkdir {target}/t && tar -C {target}/t -xzf {package} && sync -f {target}"),
                 ("igzip -d, tar x, sync", "igzip", f"mkdir {target}/t && igzip -dc {package} | tar -C {target}/t -xf - && sync -f {target}"),
                 ("igzip -d, tar x", "igzip", f"mkdir {target}/t && igzip -dc {package} | tar -C {target}/t -xf -")]

        def before():
            # Deleted at the very end: just after a delete, ext4 creates files up to 15 times slower.
            if os.path.exists(target):
                old[0] += 1
                os.rename(target, f"{self.work}/old-{old[0]}")
            os.makedirs(target)
            say(f"sync -f {target}")
        table(f"install {self.name}, verified and durable", peers, self.rounds, before)
        before()
        say(ours)
        if shutil.which("ostree"):
            say(f"ostree --repo={self.work}/repo init --mode=bare-user && ostree --repo={self.work}/repo commit -b x --tree=dir={tree}")
        again = [("ours", "sh", ours),
                 ("ostree checkout, hard links", "ostree", f"ostree --repo={self.work}/repo checkout -U -H x {self.work}/checkout-$$")]
        table(f"install {self.name} again: its contents are there", again, self.rounds, lambda: None)


class Way:
    """A way between two nodes that counts what comes back over it."""

    def __init__(self, to):
        self.to, self.came, self.listener = to, 0, socket.create_server(("127.0.0.1", 0))
        self.at = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.lead, daemon=True).start()

    def lead(self):
        while True:
            near = self.listener.accept()[0]
            far = socket.create_connection(self.to)
            threading.Thread(target=self.carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, True), daemon=True).start()

    def carry(self, one, other, counted):
        try:
            while data := one.recv(65536):
                self.came += len(data) if counted else 0
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


PROGRAM = """name = "bench"
version = "%s.0.0"
license = "MIT"
[roles.app]
for = "initiator"
build = { copy = "tree/" }
"""


def ours_update(work, deployctl, trees):
    """Bytes that come to a node that installs a program, and then its next version, from another: TLS, HTTP and all."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shop, anna = (f"{deployctl} --format json --state {work}/{node}" for node in ("shop", "anna"))
    key, at = json.loads(say(f"{shop} init --name shop --address 127.0.0.1:{port}"))["address"].rsplit("@", 1)
    customer = json.loads(say(f"{anna} init --name anna"))["address"]
    way = Way(("127.0.0.1", port))
    say(f"{shop} trust add anna {customer} --may request; {anna} trust add shop {key}@{way.at} --may provide")
    offered, came, server = f"{work}/offered/bench", [], None
    try:
        for version, tree in enumerate(trees, 1):
            shutil.rmtree(f"{work}/offered", ignore_errors=True)
            shutil.copytree(tree, f"{offered}/tree", symlinks=True)
            without_collisions(f"{offered}/tree")
            open(f"{offered}/service.toml", "w").write(PROGRAM % version)
            if not server:
                server = subprocess.Popen(f"exec {shop} serve --services {work}/offered", shell=True, stdout=subprocess.PIPE)
                server.stdout.readline()
            before, start = way.came, time.monotonic()
            say(f"{anna} install bench --from shop --yes")
            came.append((way.came - before, time.monotonic() - start))
    finally:
        if server:
            server.terminate()
            server.wait()
    return came


def update(title, trees, work, deployctl):
    """What each fetches to get from the first tree to the second, and the ratio of ours to it."""
    work = tempfile.mkdtemp(dir=work)
    (whole, _), (ours, took) = ours_update(work, deployctl, trees)
    others = {}
    copies = [f"{work}/tree-{number}" for number in (1, 2)]
    for copy, tree in zip(copies, trees):
        shutil.copytree(tree, copy, symlinks=True)
    if shutil.which("casync"):
        for number, copy in enumerate(copies):
            say(f"casync make --without=all --with=permissions --store={work}/{number}.castr {work}/{number}.caidx {copy}")
        chunks = [{name: os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(f"{work}/{number}.castr")
                   for name in names} for number in (0, 1)]
        others["casync, chunks and index"] = os.path.getsize(f"{work}/1.caidx") + sum(
            size for name, size in chunks[1].items() if name not in chunks[0])
    if shutil.which("zck"):
        for number, copy in enumerate(copies):
            say(f"cd {work} && {TAR} -C {copy} -cf t . && zck -o z{number} t")
        others["zchunk, chunks and header"] = int(re.search(r"\d+", say(f"cd {work} && zck_delta_size z0 z1"))[0])
    print(f"\n### update: {title}\n\n| | bytes | ours to it |\n|---|---|---|\n"
          f"| ours, all that comes over TCP (at first: {whole}; now in {took:.1f} s) | {ours} | 1.00 |")
    for name, count in others.items():
        print(f"| {name} | {count} | {ours / count:.2f} |", flush=True)
    subprocess.run(["chmod", "-R", "u+w", work])
    shutil.rmtree(work)


def edited(tree, places, work):
    """The tree with a line put somewhere into so many of its files."""
    to, draw, files = tempfile.mkdtemp(dir=work) + "/tree", random.Random(1), []
    shutil.copytree(tree, to, symlinks=True)
    for folder, _, names in os.walk(to):
        files += [os.path.join(folder, name) for name in names]
    for path in draw.sample(sorted(path for path in files if not os.path.islink(path)), min(places, len(files))):
        with open(path, "rb") as file:
            content = file.read()
        at = draw.randrange(len(content) + 1)
        os.chmod(path, 0o644)
        with open(path, "wb") as out:
            out.write(content[:at] + b"a line that was not there\n" + content[at:])
    return to


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tree", action="append")
    options.add_argument("--pair", action="append", nargs=2, default=[])
    options.add_argument("--only", action="append", choices=["pack", "install", "update"])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--work", default=tempfile.gettempdir())
    options.add_argument("--deployctl", default=f"{HERE}/../../target/release/deployctl")
    options = options.parse_args()
    work, deployctl = tempfile.mkdtemp(prefix="bench.", dir=options.work), os.path.abspath(options.deployctl)
    wanted = lambda what: not options.only or what in options.only
    try:
        print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
        for tree in options.tree or ([] if options.pair else make_trees(work)):
            if wanted("pack") or wanted("install"):
                bench = Bench(tree, work, deployctl, options.rounds)
            if wanted("pack"):
                bench.pack()
            if wanted("install"):
                bench.install()
            if wanted("update"):
                for places in (1, 5, 40):
                    update(f"{os.path.basename(tree)}, a line in {places} files", (tree, edited(tree, places, work)), work, deployctl)
        for pair in options.pair:
            update(" → ".join(os.path.basename(tree.rstrip("/")) for tree in pair), pair, work, deployctl)
        print(f"\nload {os.getloadavg()[0]:.1f}")
    finally:
        subprocess.run(["chmod", "-R", "u+w", work])
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
