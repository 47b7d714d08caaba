//go:build unix

package main

// serveManaged needs nothing from the service manager.
var serveManaged = serve
