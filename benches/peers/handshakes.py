#!/usr/bin/env python3
"""Full mutual TLS 1.3 handshakes with one small request each, and one call of the command line from its start to its end:
ours (Ed25519 both ways) beside nginx and curl (P-256 both ways, the usual). In one run, in turn.

    cargo build --release
    benches/peers/handshakes.py [ROUNDS] [SECONDS]

Prints, of every round's ratio ours : theirs, minimum, median and maximum. The clients, which are `openssl s_time` on both
sides, share the cores with the server: how many handshakes there are a second depends on them, too. Needs nginx, curl and openssl.
"""
import json, os, re, resource, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
import transfer

DEPLOYCTL = os.environ.get("DEPLOYCTL", transfer.ROOT + "/target/release/deployctl")


def said(text):
    return subprocess.run(["sh", "-ec", text], check=True, capture_output=True, text=True).stdout


def shake(server, port, path, certificate):
    """Handshakes a second by two clients at once, and seconds of the server's and the client's processor time for each."""
    client = f"openssl s_time -connect 127.0.0.1:{port} -new -tls1_3 -time {SECONDS} -www {path} {certificate}"
    before, began, used = transfer.cpu(server), time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    clients = [subprocess.Popen(["sh", "-c", client], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
    count = sum(int(re.search(r"(\d+) connections in \d+ real", one.communicate()[0])[1]) for one in clients)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    client = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return count / wall, (transfer.cpu(server) - before) / count, client / count


def call(command):
    """Seconds of one call, and of its processor time."""
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(["sh", "-c", "exec " + command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


def table(title, names, columns, rounds, ours, theirs):
    pairs = []
    for turn in range(rounds + 1):
        pair = [run() for run in ((ours, theirs) if turn % 2 else (theirs, ours))]
        pairs += [pair if turn % 2 else pair[::-1]] if turn else []  # the first is to warm up
    print(f"\n{title} (load {os.getloadavg()[0]:.1f})")
    for name, results in zip(names, zip(*pairs)):
        print(f"  {name:24} " + ", ".join(f"{what} {statistics.median(one[n] for one in results):.5g}" for n, what in enumerate(columns)))
    for n, what in enumerate(columns):
        ratios = sorted(a[n] / max(b[n], 1e-9) for a, b in pairs)
        print(f"  {what:24} ratio {ratios[0]:.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f}")
    sys.stdout.flush()


def main():
    work, servers = tempfile.mkdtemp(prefix="handshakes."), []
    try:
        open(work + "/ping", "w").write("pong")
        nginx, curl = transfer.nginx(work, "ping", servers)
        port = re.search(r"localhost:(\d+)", curl)[1]
        with socket.create_server(("127.0.0.1", 0)) as free:
            own = free.getsockname()[1]
        shop, anna = (f"{DEPLOYCTL} --format json --state {work}/{node}" for node in ("shop", "anna"))
        address = json.loads(said(f"{shop} init --name shop --address 127.0.0.1:{own}"))["address"]
        customer = json.loads(said(f"{anna} init --name anna"))["address"]
        said(f"{shop} trust add anna {customer} --may request; {anna} trust add shop {address} --may provide")
        server = subprocess.Popen(f"exec {shop} serve", shell=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        servers.append(server)
        server.stdout.readline()
        identity = f"-cert {work}/anna/identity/node.crt -key {work}/anna/identity/node.key"
        pem = f"-cert {work}/client.pem -key {work}/client.key -CAfile {work}/ca.pem"
        table("full handshakes, a request each", ("ours", "nginx"), ("a second", "server CPU s each", "client CPU s each"), ROUNDS,
              lambda: shake(server.pid, own, "/v1/rotations", identity), lambda: shake(nginx.pid, port, "/ping", pem))
        table("one call of the command line", ("deployctl request --list", "curl --cert"), ("wall s", "CPU s"), 8 * ROUNDS,
              lambda: call(f"{anna} request --provider shop --list"), lambda: call(curl + work + "/got"))
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
            server.wait()
        shutil.rmtree(work)


main()
