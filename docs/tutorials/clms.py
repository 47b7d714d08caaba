"""Data of the Copernicus Land Monitoring Service, from the search to the file.

    python3 clms.py search corine 2018
    python3 clms.py get request.json

Needs Python 3.8 and a tokend with the profile clms. After an interruption run
it again: it goes on with the portal's task and with half a file.
"""

import base64
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

PORTAL = "https://land.copernicus.eu/api/"
POLL = float(os.environ.get("CLMS_POLL", 60))  # seconds between two questions
BUSY = (403, 404, 429, 500, 502, 503, 504)  # after these a later try may succeed,
# and after these: the network, half an answer, a page of HTML, tokend's own reason
FAULTS = (OSError, http.client.HTTPException, ValueError, subprocess.CalledProcessError)
# The file host answers 403 to "Python-urllib".
BROWSER = {"User-Agent": "Mozilla/5.0 (clms.py)"}


def portal(path, body=None, token=True):
    """Ask the portal. If it refuses, show its reason and end."""
    request = urllib.request.Request(PORTAL + path)
    request.add_header("Accept", "application/json")
    if body:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token:  # from tokend, each time: it is valid, even after a day
        get = ["tokenctl", "get", "clms"]
        good = subprocess.check_output(get, text=True).strip()
        # "unredirected": a redirect does not take it to another host
        request.add_unredirected_header("Authorization", "Bearer " + good)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in BUSY:
            raise
        sys.exit(f"The portal says {error.code}: {error.read().decode()}")


def search(**query):
    """Yield the datasets of the catalogue that match; this needs no token."""
    query.update(portal_type="DataSet", b_size=100, b_start=0)
    fields = ["UID", "dataset_download_information", "downloadable_files"]
    query["metadata_fields"] = fields
    page = {"items_total": 1}
    while query["b_start"] < page["items_total"]:
        page = portal("@search?" + urllib.parse.urlencode(query, True), token=False)
        yield from page["items"]
        query["b_start"] += 100


def parts(dataset, field):
    return (dataset.get(field) or {}).get("items") or []


def show(words):
    datasets = list(search(SearchableText=words))
    if not datasets:
        print("Nothing found.")
    for dataset in datasets:
        print(dataset["UID"], dataset["title"])
        for part in parts(dataset, "dataset_download_information"):
            about = map(part.get, ("@id", "name", "collection", "full_format", "full_source"))
            print("   ", *about, sep="  ")
        for file in parts(dataset, "downloadable_files"):
            if file.get("path"):
                print("   ", file["@id"], "FILE", file.get("format"), file.get("area"), sep="  ")


def day(date):
    """A date: in requests milliseconds, in tasks text."""
    if isinstance(date, str):
        return date[:10]
    return time.strftime("%Y-%m-%d", time.gmtime(date / 1000))


def comparable(dataset):
    """What requests and tasks both say of a dataset."""
    names = "DatasetID", "FileID", "BoundingBox", "OutputFormat", "OutputGCS", "Layer"
    area = dataset.get("NUTSID", dataset.get("NUTS"))
    dates = dataset.get("TemporalFilter") or {}
    return [*map(dataset.get, names), area, {name: day(date) for name, date in dates.items()}]


def usable(task):
    """Report whether a task still leads to a file; the portal keeps files 72 hours."""
    gone = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 72 * 3600))
    finished = task["Status"] == "Finished_ok" and task["FinalizationDateTime"] > gone
    return finished or task["Status"] in ("Queued", "In_progress")


def known(asked):
    """List the tasks of the same request, the newest first."""
    source = {}  # tasks do not name the download that was asked for, but where it is
    for dataset in search(UID=asked["DatasetID"]):
        for part in parts(dataset, "dataset_download_information"):
            if part["@id"] == asked.get("DatasetDownloadInformationID"):
                path = base64.urlsafe_b64encode((part.get("full_path") or "").encode()).decode()
                byoc = part.get("byoc_collection")  # of CDSE
                source = {"ByocCollection": byoc} if byoc else {"DatasetPath": path}
    tasks = []
    for task, found in portal("@datarequest_search").items():
        if usable(found) and any(
            comparable(dataset) == comparable(asked) and source.items() <= dataset.items()
            for dataset in found["Datasets"]
        ):
            tasks.append((found["RegistrationDateTime"], task))
    return [task for _, task in sorted(tasks, reverse=True)]


def wait(task):
    """Wait for a task, two days at most, and return its DownloadURL."""
    last = ""
    for _ in range(2880):
        try:
            found = portal("@datarequest_status_get?TaskID=" + task)
        except FAULTS as error:
            found = {"Status": str(error)}
        if found["Status"] != last:
            last = found["Status"]
            print(task, last, flush=True)
        if last == "Finished_ok":
            return found["DownloadURL"]
        if last in ("Finished_nok", "Rejected", "Cancelled"):
            sys.exit(f"{task}: {found.get('Message')}")
        time.sleep(POLL)
    sys.exit(f"{task} has not finished. Run this again to wait on.")


def fetch(url, name):
    """Download a file, and report whether it is there. The token is not for this host."""
    part = name + ".part"
    for _ in range(30):
        if os.path.exists(name):
            break
        have = os.path.getsize(part) if os.path.exists(part) else 0
        request = urllib.request.Request(url, headers={**BROWSER, "Range": f"bytes={have}-"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                more = answer.status == 206
                total = int(answer.headers.get("Content-Length", 0)) + have * more
                with open(part, "ab" if more else "wb") as file:
                    shutil.copyfileobj(answer, file, 1 << 20)
            if os.path.getsize(part) >= total and zipfile.is_zipfile(part):
                os.replace(part, name)
                continue
        except FAULTS as error:  # not there yet, or cut: the next try goes on from there
            print(f"{name}: {error}; trying again", flush=True)
            if getattr(error, "code", 0) == 416:  # it has no rest
                os.remove(part)
        time.sleep(POLL)
    if os.path.exists(name):
        print(name, os.path.getsize(name), "bytes")
    return os.path.exists(name)


def get(asked):
    """Get one dataset, from a task that there is already or from a new one."""
    for task in known(asked):
        if fetch(wait(task), task + ".zip"):
            return
    answer = portal("@datarequest_post", {"Datasets": [asked]})
    tasks = [task["TaskID"] for task in answer["TaskIds"]]
    for _ in range(30):  # CDSE's datasets have a task some minutes later
        if tasks:
            break
        time.sleep(POLL)
        tasks = known(asked)
    if not tasks or not fetch(wait(tasks[0]), tasks[0] + ".zip"):
        sys.exit("The portal gave no file. See your downloads at land.copernicus.eu.")


def main(words):
    if words[:1] == ["search"] and len(words) > 1:
        show(" ".join(words[1:]))
    elif words[:1] == ["get"] and len(words) == 2:
        try:
            with open(words[1]) as file:
                datasets = json.load(file)["Datasets"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            sys.exit("{}: {!r}".format(words[1], error))
        for asked in datasets:
            get(asked)
    else:
        sys.exit(__doc__)


try:
    main(sys.argv[1:])
except FAULTS as error:
    sys.exit(str(error))
except KeyboardInterrupt:
    sys.exit("Stopped. Run this again to go on.")
