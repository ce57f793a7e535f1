// Command pod is what pods of the tests run: a static program, and so an image of one file.
//
//	pod                  waits for SIGTERM, and reaps what is left to it: the first process of a pod
//	pod keep             the same, and ends when its standard input does
//	pod exit CODE WORDS  prints the words and exits with the code
//	pod serve PORT       answers each request with $VERSION, /healthz with 503 if $UNREADY is set; goes on for $DRAIN after
//	                     SIGTERM, such as 2s
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	args := append(os.Args[1:], "", "")
	switch args[0] {
	case "exit":
		fmt.Println(strings.Join(args[2:], " "))
		code, _ := strconv.Atoi(args[1])
		os.Exit(code)
	case "serve":
		serve(args[1])
	case "keep":
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		wait()
	default:
		wait()
	}
}

func wait() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for signal := range signals {
		if signal != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func serve(port string) {
	health := http.StatusOK
	if os.Getenv("UNREADY") != "" {
		health = http.StatusServiceUnavailable
	}
	http.HandleFunc("/healthz", func(answer http.ResponseWriter, _ *http.Request) { answer.WriteHeader(health) })
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(answer, os.Getenv("VERSION")) })
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+port, nil))
		os.Exit(1)
	}()
	wait()
	drain, _ := time.ParseDuration(os.Getenv("DRAIN"))
	time.Sleep(drain)
}
