// Command web is an application under load: a static program, and so an image of one file.
//
// It listens on port 8080 and answers /version with $VERSION, /echo with what was sent, /slow?ms=N after so long, anything
// else with nothing. After SIGTERM it goes on for $DRAIN, such as 3s, tells clients with each answer to use another connection, and
// finishes what is in flight; without $DRAIN it ends at once.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	http.HandleFunc("/version", func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprint(answer, os.Getenv("VERSION")) })
	http.HandleFunc("/echo", func(answer http.ResponseWriter, request *http.Request) { _, _ = io.Copy(answer, request.Body) })
	http.HandleFunc("/slow", func(answer http.ResponseWriter, request *http.Request) {
		pause, _ := strconv.Atoi(request.URL.Query().Get("ms"))
		time.Sleep(time.Duration(pause) * time.Millisecond)
		fmt.Fprint(answer, os.Getenv("VERSION"))
	})
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	var drains atomic.Bool
	all := http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if drains.Load() {
			answer.Header().Set("Connection", "close")
		}
		http.DefaultServeMux.ServeHTTP(answer, request)
	})
	server := &http.Server{Addr: ":8080", Handler: all}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}()
	<-told
	drain, _ := time.ParseDuration(os.Getenv("DRAIN"))
	if drain == 0 {
		os.Exit(0)
	}
	drains.Store(true)
	time.Sleep(drain)
	_ = server.Shutdown(context.Background())
}
