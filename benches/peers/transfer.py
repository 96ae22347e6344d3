#!/usr/bin/env python3
"""Transfers of a packed file over mutual TLS 1.3, to a file: ours, which verifies every piece, beside nginx and curl (HTTP/1.1,
AES-128-GCM), which verify nothing; and the same durable, beside curl, sha256sum and fsync. Both in one run, in turn.

    cargo build --release --bench transfer
    benches/peers/transfer.py [MIB] [ROUNDS] [RECEIVERS ...]

Prints, of every round's ratio ours : theirs, minimum, median and maximum, for wall time and for the processor time of both
sides, and what the machine did beside. Needs nginx, curl, openssl and sha256sum.
"""
import glob, os, resource, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

HZ = os.sysconf("SC_CLK_TCK")
MIB = int(sys.argv[1]) if len(sys.argv) > 1 else 292
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 7
FANS = [int(n) for n in sys.argv[3:]] or [8, 32]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def ours():
    built = [p for p in glob.glob(ROOT + "/target/release/deps/transfer-*") if os.access(p, os.X_OK)]
    if not built:
        sys.exit("first: cargo build --release --bench transfer")
    return max(built, key=os.path.getmtime)


def tree(pid):
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [pid] + [int(child) for child in children]


def cpu(pid):
    """User and system seconds of a server and its workers so far."""
    fields = [open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split() for p in tree(pid)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / HZ


def rss(pid):
    lines = [line for p in tree(pid) for line in open(f"/proc/{p}/status") if line.startswith("VmHWM")]
    return sum(int(line.split()[1]) for line in lines) / 1024


def sh(text):
    subprocess.run(["sh", "-ec", text], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measured(server, commands):
    """Runs the receivers at once; seconds of wall time, and of processor time of receivers and sender."""
    sent, used, began = cpu(server), resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    running = [subprocess.Popen(["sh", "-ec", c], stdout=subprocess.DEVNULL) for c in commands]
    if any(p.wait() for p in running):
        sys.exit(f"failed: {commands[0]}")
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    received = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    time.sleep(0.05)
    return wall, received, cpu(server) - sent


def table(title, pairs, rounds, count=1):
    """`pairs`: two rows (name, server, command of receiver i). Ratios are first : second."""
    got = {name: [] for name, _, _ in pairs}
    for n in range(-1, rounds):
        for name, server, command in pairs[:: 1 if n % 2 else -1]:
            run = measured(server, [command(i) for i in range(count)])
            got[name] += [run] if n >= 0 else []
    print(f"\n{title} (load {os.getloadavg()[0]:.1f})")
    for name, server, _ in pairs:
        wall, received, sent = (statistics.median(run[k] for run in got[name]) for k in range(3))
        print(f"  {name:28} wall {wall:.2f} s, CPU receivers {received:.2f} + sender {sent:.2f} s, "
              f"sender {1000 * sent / count:.0f} ms a receiver, sender RSS {rss(server):.0f} MiB")
    a, b = (got[name] for name, _, _ in pairs)
    for what, of in (("wall", lambda r: r[0]), ("CPU of both", lambda r: r[1] + r[2]), ("CPU of the sender", lambda r: r[2])):
        ratios = sorted(of(x) / max(of(y), 0.01) for x, y in zip(a, b))
        print(f"  {what:18} ratio {ratios[0]:.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f}")
    sys.stdout.flush()


def nginx(work, name, servers):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sh(f"""cd {work}
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -days 3 -subj /CN=ca -out ca.pem
    for who in server client; do
        openssl ecparam -name prime256v1 -genkey -noout -out $who.key
        openssl req -new -key $who.key -subj /CN=localhost -out $who.csr
        printf 'subjectAltName=DNS:localhost' > $who.ext
        openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3 -extfile $who.ext -out $who.pem
    done""")
    # The folder is for this user alone.
    user = "user root;" if os.geteuid() == 0 else ""
    paths = "".join(f"{k}_temp_path {work}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    open(work + "/nginx.conf", "w").write(f"""daemon off; {user} worker_processes 2; pid {work}/pid; error_log stderr;
    events {{ worker_connections 1024; }} http {{ access_log off; sendfile on; {paths}
    server {{ listen 127.0.0.1:{port} ssl; root {work}; ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_certificate server.pem; ssl_certificate_key server.key; ssl_client_certificate ca.pem; ssl_verify_client on; }} }}""")
    server = subprocess.Popen(["nginx", "-e", "stderr", "-p", work, "-c", work + "/nginx.conf"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    servers.append(server)
    curl = (f"curl -sSf --http1.1 --tlsv1.3 --tls13-ciphers TLS_AES_128_GCM_SHA256 --cacert {work}/ca.pem "
            f"--cert {work}/client.pem --key {work}/client.key https://localhost:{port}/{name} -o ")
    for _ in range(100):
        if subprocess.run(curl + work + "/probe", shell=True, stderr=subprocess.DEVNULL).returncode == 0:
            return server, curl
        time.sleep(0.05)
    sys.exit("nginx does not answer")


def main():
    program, work = ours(), tempfile.mkdtemp(prefix="transfer.")
    servers = []
    try:
        for name, mib in (("large", MIB), ("medium", 24)):
            sh(f"head -c {mib}M /dev/urandom > {work}/{name}; {program} pieces {work}/{name} > {work}/{name}.pieces")
        for name in ("large", "medium"):
            other, curl = nginx(work, name, servers)
            mine = subprocess.Popen([program, "serve", f"{work}/{name}"], stdout=subprocess.PIPE, text=True)
            servers.append(mine)
            at = mine.stdout.readline().strip()
            fetch = f"{program} fetch {at} {work}/{name}.pieces "
            to = lambda i: f"{work}/to.{i}"
            theirs = ("nginx + curl, unverified", other.pid, lambda i: curl + to(i))
            verified = ("nginx + curl + sha256sum", other.pid, lambda i: f"{curl}{to(i)}; sha256sum {to(i)}")
            durable = ("… and fsync", other.pid, lambda i: f"{curl}{to(i)}; sha256sum {to(i)}; sync {to(i)}")
            plain = ("ours, verified", mine.pid, lambda i: fetch + to(i))
            if name == "large":
                one = ("ours, one lane", mine.pid, lambda i: fetch + to(i) + " 1")
                table(f"{MIB} MiB", [plain, theirs], ROUNDS)
                sh(f"cmp {work}/large {work}/to.0")
                table(f"{MIB} MiB, one lane", [one, theirs], ROUNDS)
                synced = ("ours, verified, durable", mine.pid, lambda i: fetch + to(i) + " durable")
                table(f"{MIB} MiB, durable", [synced, durable], ROUNDS)
                continue
            for count in FANS:
                table(f"{count} receivers of 24 MiB", [plain, theirs], max(3, ROUNDS // 2), count)
                table(f"{count} receivers of 24 MiB, all verified", [plain, verified], 3, count)
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
            server.wait()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
