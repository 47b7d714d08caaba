// Command bareclient gets a token as a Go program would with the standard
// library alone, and no flags, checks or errors worth the name: bareclient
// SOCKET NAME.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
)

func main() {
	conn, err := net.Dial("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(conn, "GET /v1/token/%s HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\n\r\n", os.Args[2])
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			panic(err)
		}
		if line == "\r\n" {
			break
		}
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(r).Decode(&answer); err != nil {
		panic(err)
	}
	fmt.Println(answer.AccessToken)
}
