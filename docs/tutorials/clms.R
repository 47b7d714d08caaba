# Data of the Copernicus Land Monitoring Service, from the search to the file.
#
#     Rscript clms.R search corine 2018
#     Rscript clms.R get request.json
#
# Needs httr2 and a tokend with the profile clms. After an interruption run it
# again: it goes on with the portal's task and with half a file.

library(httr2)

portal <- "https://land.copernicus.eu/api/"
poll <- as.numeric(Sys.getenv("CLMS_POLL", "60")) # seconds between two questions
busy <- c(403, 404, 429, 500, 502, 503, 504) # after these a later try may succeed

# Ask the portal. If it refuses, show its reason and end.
ask <- function(path, query = list(), body = NULL, token = TRUE) {
  request <- request(paste0(portal, path)) |>
    req_headers(Accept = "application/json") |>
    req_timeout(120) |>
    req_error(is_error = function(answer) FALSE)
  request <- do.call(req_url_query, c(list(request), query))
  if (!is.null(body)) {
    request <- req_body_raw(request, body, "application/json")
  }
  if (token) { # from tokend, each time: it is valid, even after a day
    good <- system2("tokenctl", c("get", "clms"), stdout = TRUE)
    if (length(good) != 1) stop("no token")
    request <- request |>
      req_auth_bearer_token(good) |>
      req_options(unrestricted_auth = 0) # a redirect does not take it along
  }
  answer <- req_perform(request)
  status <- resp_status(answer)
  if (status %in% busy) stop("the portal says ", status)
  if (status >= 400) end("The portal says ", status, ": ", resp_body_string(answer))
  resp_body_json(answer)
}

end <- function(...) {
  message(...)
  quit(status = 1)
}

# The datasets of the catalogue that match; this needs no token.
search <- function(...) {
  found <- list()
  repeat {
    page <- ask("@search", token = FALSE, query = list(
      portal_type = "DataSet", b_size = 100, b_start = length(found), ...,
      metadata_fields = "UID",
      metadata_fields = "dataset_download_information",
      metadata_fields = "downloadable_files"
    ))
    found <- c(found, page$items)
    if (length(page$items) == 0 || length(found) >= page$items_total) {
      return(found)
    }
  }
}

show <- function(words) {
  datasets <- search(SearchableText = words)
  if (length(datasets) == 0) cat("Nothing found.\n")
  for (dataset in datasets) {
    cat(dataset$UID, dataset$title, "\n")
    for (part in dataset$dataset_download_information$items) {
      cat("   ", part$`@id`, part$name, part$collection, part$full_format,
        part$full_source, "\n", sep = "  ")
    }
    for (file in dataset$downloadable_files$items) {
      if (isTRUE(nzchar(file$path))) {
        cat("   ", file$`@id`, "FILE", file$format, file$area, "\n", sep = "  ")
      }
    }
  }
}

# A date: in requests milliseconds, in tasks text.
day <- function(date) {
  if (is.character(date)) return(substr(date, 1, 10))
  format(as.POSIXct(date / 1000, origin = "1970-01-01", tz = "UTC"), "%Y-%m-%d")
}

# What requests and tasks both say of a dataset, as text.
comparable <- function(dataset) {
  area <- if (is.null(dataset$NUTSID)) dataset$NUTS else dataset$NUTSID
  fields <- c("DatasetID", "FileID", "OutputFormat", "OutputGCS", "Layer")
  box <- as.numeric(unlist(dataset$BoundingBox))
  dates <- lapply(dataset$TemporalFilter, day)
  paste(c(dataset[fields], area, box, dates$StartDate, dates$EndDate), collapse = " ")
}

# Whether a task still leads to a file; the portal keeps files 72 hours.
usable <- function(task) {
  gone <- format(Sys.time() - 72 * 3600, "%Y-%m-%dT%H:%M", tz = "UTC")
  task$Status %in% c("Queued", "In_progress") ||
    (task$Status == "Finished_ok" && task$FinalizationDateTime > gone)
}

# The tasks of the same request, the newest first.
known <- function(asked) {
  field <- place <- NULL # tasks do not name the download, but where it is
  for (dataset in search(UID = asked$DatasetID)) {
    for (part in dataset$dataset_download_information$items) {
      if (!identical(part$`@id`, asked$DatasetDownloadInformationID)) next
      field <- "ByocCollection" # of CDSE
      place <- part$byoc_collection
      if (!isTRUE(nzchar(place))) {
        field <- "DatasetPath"
        place <- jsonlite::base64url_enc(charToRaw(paste0(part$full_path, "")))
      }
    }
  }
  tasks <- Filter(function(task) {
    usable(task) && any(vapply(task$Datasets, function(dataset) {
      there <- is.null(place) || identical(sub("=+$", "", dataset[[field]]), place)
      there && comparable(dataset) == comparable(asked)
    }, TRUE))
  }, ask("@datarequest_search"))
  when <- vapply(tasks, function(task) task$RegistrationDateTime, "")
  names(tasks)[order(when, decreasing = TRUE)]
}

# Wait for a task, two days at most, and return its DownloadURL.
wait <- function(task) {
  last <- ""
  for (i in seq_len(2880)) {
    found <- tryCatch( # busy, or a fault on the way
      ask("@datarequest_status_get", list(TaskID = task)),
      error = function(e) list(Status = conditionMessage(e))
    )
    if (found$Status != last) {
      last <- found$Status
      cat(task, last, "\n")
    }
    if (last == "Finished_ok") return(found$DownloadURL)
    if (last %in% c("Finished_nok", "Rejected", "Cancelled")) end(task, ": ", found$Message)
    Sys.sleep(poll)
  }
  end(task, " has not finished. Run this again to wait on.")
}

# Append the rest of what is at a URL to a file, and report whether it is whole.
# The token is not for this host, which answers 403 to "libcurl".
append_rest <- function(url, part) {
  have <- max(0, file.size(part), na.rm = TRUE)
  handle <- curl::new_handle(url = url, low_speed_limit = 1, low_speed_time = 120)
  curl::handle_setheaders(handle,
    `User-Agent` = "Mozilla/5.0 (clms.R)", Range = sprintf("bytes=%.0f-", have))
  status <- function() curl::handle_data(handle)$status_code
  to <- NULL
  write <- function(bytes, ...) {
    if (status() %in% c(200, 206)) {
      if (is.null(to)) to <<- file(part, if (status() == 206) "ab" else "wb")
      writeBin(bytes, to)
    }
  }
  whole <- FALSE
  pool <- curl::new_pool()
  curl::multi_add(handle, data = write, pool = pool,
    done = function(answer) whole <<- answer$status_code %in% c(200, 206),
    fail = message) # cut: the next try goes on from there
  curl::multi_run(pool = pool)
  if (!is.null(to)) close(to)
  if (!whole) cat(part, "status", status(), "trying again\n")
  if (status() == 416) file.remove(part) # it has no rest
  whole
}

# Download a file, and report whether it is there.
fetch <- function(url, name) {
  part <- paste0(name, ".part")
  for (i in seq_len(30)) {
    if (!file.exists(name) && append_rest(url, part)) file.rename(part, name)
    if (file.exists(name)) {
      cat(name, file.size(name), "bytes\n")
      return(TRUE)
    }
    Sys.sleep(poll)
  }
  FALSE
}

# Get one dataset, from a task that there is already or from a new one. The
# request goes to the portal as it stands in the file.
get_dataset <- function(asked) {
  for (task in known(asked)) {
    if (fetch(wait(task), paste0(task, ".zip"))) return()
  }
  body <- jsonlite::toJSON(list(Datasets = list(asked)), auto_unbox = TRUE, digits = NA)
  tasks <- unlist(ask("@datarequest_post", body = body)$TaskIds)
  for (i in seq_len(30)) { # CDSE's datasets have a task some minutes later
    if (length(tasks) > 0) break
    Sys.sleep(poll)
    tasks <- known(asked)
  }
  if (length(tasks) == 0 || !fetch(wait(tasks[[1]]), paste0(tasks[[1]], ".zip"))) {
    end("The portal gave no file. See your downloads at land.copernicus.eu.")
  }
}

words <- commandArgs(trailingOnly = TRUE)
if (length(words) > 1 && words[1] == "search") {
  show(paste(words[-1], collapse = " "))
} else if (length(words) == 2 && words[1] == "get") {
  request <- tryCatch(jsonlite::read_json(words[2]), error = function(e) {
    end(paste0(words[2], ": ", conditionMessage(e)))
  })
  if (length(request$Datasets) == 0) end(paste0(words[2], ": no Datasets"))
  for (asked in request$Datasets) get_dataset(asked)
} else {
  end("usage: Rscript clms.R search WORD... | get request.json")
}
