#!/usr/bin/env python3
"""A client of the platform for scripts/test-compose.sh: HTTP and WebSocket, with nothing but Python's own library.

usage: compose-client.py flow   URL STATE FILE     the demo's flow: sections of FILE to nodes, tasks, live events, the result
       compose-client.py load   URL STATE STOP     reads, writes, tasks and sockets until the file STOP exists
       compose-client.py verify URL STATE          whether everything that was ever accepted is there and done

STATE is a file that remembers the user and all that was accepted. Each prints one line of JSON and ends with 0 or, when something
was lost or failed that may not fail, 1.
"""

import base64
import http.client
import json
import os
import socket
import struct
import sys
import threading
import time
import urllib.parse
import uuid


class Answer:
    def __init__(self, status, body, headers):
        self.status, self.body, self.headers = status, body, headers


class Http:
    """One connection that is kept open, as a browser's or an SDK's."""

    def __init__(self, url, token=None):
        address = urllib.parse.urlsplit(url)
        self.host, self.port, self.token = address.hostname, address.port or 80, token
        self.connection = None

    def ask(self, method, path, body=None, key=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        if key:
            headers["Idempotency-Key"] = key
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            self.connection.request(method, "/api/v1" + path, json.dumps(body) if body is not None else None, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            self.connection = None
            return Answer(0, {"detail": repr(error)}, {})
        try:
            parsed = json.loads(text) if text else {}
        except ValueError:
            parsed = {"detail": text[:80].decode("utf-8", "replace")}
        return Answer(answer.status, parsed, answer.headers)

    def need(self, method, path, body=None, key=None):
        answer = self.ask(method, path, body, key)
        if not 200 <= answer.status < 300:
            sys.exit("%s %s: %s %s" % (method, path, answer.status, answer.body))
        return answer.body


class Socket:
    """A WebSocket (RFC 6455) as far as it is needed here."""

    def __init__(self, url, token):
        address = urllib.parse.urlsplit(url)
        self.raw = socket.create_connection((address.hostname, address.port or 80), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        self.raw.sendall(
            ("GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: %s\r\nAuthorization: Bearer %s\r\n\r\n" % (address.netloc, key, token)).encode())
        self.input = self.raw.makefile("rb")
        status = self.input.readline().split()
        if len(status) < 2 or status[1] != b"101":
            raise OSError("the handshake was answered with %r" % status)
        while self.input.readline() not in (b"\r\n", b""):
            pass
        self.raw.settimeout(30)

    def send(self, message):
        self.frame(1, json.dumps(message).encode())

    def frame(self, kind, data):
        mask = os.urandom(4)
        length = len(data)
        head = struct.pack("!BB", 0x80 | kind, 0x80 | length) if length < 126 else struct.pack("!BBH", 0x80 | kind, 0xFE, length)
        self.raw.sendall(head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(data)))

    def take(self, count):
        data = self.input.read(count)
        if data is None or len(data) < count:
            raise OSError("the socket ended")
        return data

    def receive(self):
        text = b""
        while True:
            first, second = self.take(2)
            length = second & 0x7F
            if length == 126:
                length = struct.unpack("!H", self.take(2))[0]
            elif length == 127:
                length = struct.unpack("!Q", self.take(8))[0]
            data = self.take(length)
            kind = first & 0x0F
            if kind == 8:
                raise OSError("closed: %r" % data)
            if kind == 9:
                self.frame(10, data)
            elif kind in (0, 1):
                text += data
                if first & 0x80:
                    return json.loads(text)

    def close(self):
        self.raw.close()


class Watcher(threading.Thread):
    """Follows a project over a WebSocket, and resumes where it was when the socket breaks."""

    def __init__(self, url, token, project):
        super().__init__(daemon=True)
        self.url, self.token, self.channel = url, token, "project:" + project
        self.seen, self.last, self.completed, self.connects, self.twice, self.resets = set(), None, {}, 0, 0, 0
        self.stopped, self.ready, self.types = False, threading.Event(), set()

    def run(self):
        while not self.stopped:
            try:
                self.follow()
            except (OSError, ValueError):
                time.sleep(0.2)

    def follow(self):
        link = Socket(self.url, self.token)
        self.connects += 1
        message = {"type": "subscribe", "channel": self.channel}
        if self.last is not None:
            message["after"] = self.last
        link.send(message)
        while not self.stopped:
            event = link.receive()
            if event["type"] == "subscribed":
                self.ready.set()
            elif event["type"] == "reset":
                self.resets += 1
            elif "seq" in event:
                self.note(event)
        link.close()

    def note(self, event):
        if event["seq"] in self.seen:
            self.twice += 1
            return
        self.seen.add(event["seq"])
        self.last = event["seq"]
        self.types.add(event["type"])
        if event["type"] == "ai_task.completed":
            task = event["data"].get("id") or event.get("task_id") or event["data"].get("task_id")
            self.completed[task] = self.completed.get(task, 0) + 1


class State:
    def __init__(self, path):
        self.path, self.lock = path, threading.Lock()
        self.data = {"tasks": [], "nodes": []}
        if os.path.exists(path):
            with open(path) as file:
                self.data = json.load(file)

    def save(self):
        with open(self.path + ".new", "w") as file:
            json.dump(self.data, file)
        os.replace(self.path + ".new", self.path)

    def add(self, kind, item):
        with self.lock:
            self.data[kind].append(item)

    def sign_in(self, url):
        http_client = Http(url)
        if "email" not in self.data:
            name = "u" + uuid.uuid4().hex[:12]
            self.data.update(email=name + "@example.org", password=uuid.uuid4().hex)
            token = http_client.need("POST", "/auth/register", {"email": self.data["email"], "username": name, "password": self.data["password"]})
        else:
            token = http_client.need("POST", "/auth/login", {"email": self.data["email"], "password": self.data["password"]})
        http_client.token = token["access_token"]
        if "project" not in self.data:
            self.data["project"] = http_client.need("POST", "/projects", {"name": "Containers"})["id"]
        self.save()
        return http_client


def sections(path):
    found, title, lines = [], os.path.basename(path), []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("#"):
                if "".join(lines).strip():
                    found.append((title, "".join(lines)))
                title, lines = line.lstrip("# ").strip(), []
            else:
                lines.append(line)
    if "".join(lines).strip():
        found.append((title, "".join(lines)))
    return found


def flow(url, state, path):
    client = state.sign_in(url)
    project = state.data["project"]
    watcher = Watcher(url, client.token, project)
    watcher.start()
    if not watcher.ready.wait(30):
        sys.exit("the WebSocket is not subscribed")
    nodes = []
    for title, content in sections(path):
        body = {"title": title[:200], "content": content[:20000]}
        nodes.append(client.need("POST", "/projects/%s/nodes" % project, body)["id"])
    for source, target in zip(nodes, nodes[1:]):
        client.need("POST", "/projects/%s/connections" % project, {"source_node_id": source, "target_node_id": target, "type": "output"})
    tasks = []
    for node in nodes:
        body = {"project_id": project, "type": "semantic_analysis", "node_id": node, "input_data": {"node_ids": [node]}}
        tasks.append(client.need("POST", "/ai-tasks", body)["id"])
    fusion = client.need("POST", "/ai-tasks", {"project_id": project, "type": "content_fusion", "input_data": {"node_ids": nodes}})["id"]
    tasks.append(fusion)
    state.data["tasks"] += tasks
    state.data["nodes"] += nodes
    state.save()
    deadline = time.time() + 120
    while time.time() < deadline and not all(task in watcher.completed for task in tasks):
        time.sleep(0.1)
    watcher.stopped = True
    missing = [task for task in tasks if task not in watcher.completed]
    result = client.need("GET", "/ai-tasks/" + fusion)
    text = (result.get("output_data") or {}).get("text") or ""
    report = {"nodes": len(nodes), "tasks": len(tasks), "seen_completed_live": len(tasks) - len(missing),
              "fused_characters": len(text), "sources": len((result.get("output_data") or {}).get("sources") or []),
              "event_types": sorted(watcher.types)}
    print(json.dumps(report))
    return not missing and bool(text)


def load(url, state, stop_file):
    client = state.sign_in(url)
    token, project = client.token, state.data["project"]
    counts = {"reads": 0, "reads_failed": 0, "writes": 0, "writes_failed": 0, "tasks": 0, "task_retries": 0}
    failures, lock, accepted = {}, threading.Lock(), []

    def count(name, answer=None):
        with lock:
            counts[name] += 1
            if answer is not None:
                what = "%s: %s %s" % (name, answer.status, str(answer.body.get("detail", ""))[:60])
                failures[what] = failures.get(what, 0) + 1

    def stopping():
        return os.path.exists(stop_file)

    def read():
        http_client = Http(url, token)
        while not stopping():
            answer = http_client.ask("GET", "/projects/" + project)
            count("reads")
            if answer.status != 200:
                count("reads_failed", answer)
                time.sleep(0.1)
            time.sleep(0.01)

    def write():
        # Without a key, so nobody may repeat it.
        http_client = Http(url, token)
        while not stopping():
            answer = http_client.ask("POST", "/projects/%s/nodes" % project, {"title": "Load", "content": "Bees dance."})
            count("writes")
            if answer.status == 201:
                state.add("nodes", answer.body["id"])
            else:
                count("writes_failed", answer)
                time.sleep(0.1)
            time.sleep(0.03)

    def submit():
        http_client = Http(url, token)
        while not stopping():
            key, body = uuid.uuid4().hex, {"project_id": project, "type": "semantic_analysis", "input_data": {
                "inputs": ["Bees dance to tell where flowers are. The angle of the dance is the direction. " + uuid.uuid4().hex]}}
            deadline = time.time() + 120
            while time.time() < deadline:
                answer = http_client.ask("POST", "/ai-tasks", body, key)
                if answer.status in (200, 201):
                    count("tasks")
                    state.add("tasks", answer.body["id"])
                    accepted.append(answer.body["id"])
                    break
                count("task_retries", answer)
                time.sleep(0.3)
            time.sleep(0.08)

    watchers = [Watcher(url, token, project) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        if not watcher.ready.wait(30):
            sys.exit("a WebSocket is not subscribed")
    threads = [threading.Thread(target=work, daemon=True) for work in (read, read, read, read, write, write, submit, submit)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state.save()
    deadline = time.time() + 90
    while time.time() < deadline and not all(task in watcher.completed for watcher in watchers for task in accepted):
        time.sleep(0.2)
    for watcher in watchers:
        watcher.stopped = True
    report = dict(counts, failures=failures, sockets=len(watchers), reconnects=sum(watcher.connects - 1 for watcher in watchers),
                  resets=sum(watcher.resets for watcher in watchers), events=sum(len(watcher.seen) for watcher in watchers),
                  events_twice=sum(watcher.twice for watcher in watchers),
                  completions_not_seen=sum(task not in watcher.completed for watcher in watchers for task in accepted),
                  completions_twice=sum(number > 1 for watcher in watchers for number in watcher.completed.values()))
    print(json.dumps(report))
    return report["completions_not_seen"] == 0 and report["events_twice"] == 0 and report["completions_twice"] == 0


def verify(url, state):
    client = state.sign_in(url)
    waiting, lost, failed, deadline = list(dict.fromkeys(state.data["tasks"])), [], [], time.time() + 120
    total = len(waiting)
    while waiting and time.time() < deadline:
        still = []
        for task in waiting:
            answer = client.ask("GET", "/ai-tasks/" + task)
            if answer.status == 404:
                lost.append(task)
            elif answer.status != 200 or answer.body["status"] in ("pending", "queued", "processing"):
                still.append(task)
            elif answer.body["status"] != "completed":
                failed.append(task)
        waiting = still
        time.sleep(0.3 if waiting else 0)
    missing = [node for node in state.data["nodes"] if client.ask("GET", "/nodes/" + node).status != 200]
    print(json.dumps({"tasks": total, "tasks_lost": len(lost), "tasks_failed": len(failed), "tasks_unfinished": len(waiting),
                      "nodes": len(state.data["nodes"]), "nodes_lost": len(missing)}))
    return not (waiting or lost or failed or missing)


def main():
    commands = {"flow": (flow, 3), "load": (load, 3), "verify": (verify, 2)}
    if len(sys.argv) < 2 or sys.argv[1] in ("--help", "-h"):
        print(__doc__.strip())
        return 0
    command, wanted = commands.get(sys.argv[1], (None, 0))
    if command is None or len(sys.argv) != 2 + wanted:
        print("error: wrong usage (see --help)", file=sys.stderr)
        return 64
    url, state = sys.argv[2], State(sys.argv[3])
    return 0 if command(url, state, *sys.argv[4:]) else 1


if __name__ == "__main__":
    sys.exit(main())
