package main

import "tokend/packaging/checktest"

var (
	check   = checktest.NoError
	read    = checktest.Read
	waitFor = checktest.WaitFor
)
