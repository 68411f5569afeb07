// Command pod is the only program in the lab's container images: the sandbox ("pause") that holds a pod's
// namespaces, and a workload that shows that pods run and reach the API server through its Service.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	switch name := filepath.Base(os.Args[0]); {
	case name == "pause":
		pause()
	case len(os.Args) > 1 && os.Args[1] == "reach-api-server":
		reachAPIServer()
	default:
		pause()
	}
}

// pause waits for the signal that ends the pod, and reaps the orphans that a process with PID 1 inherits.
func pause() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	child := make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	for {
		select {
		case <-ended:
			return
		case <-child:
			for {
				if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}

// reachAPIServer fetches /version through the kubernetes Service with the pod's own CA bundle, says what came
// back, and then stays up, so that the pod's state tells whether it succeeded: Running and ready, or failed.
func reachAPIServer() {
	const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"
	bundle, err := os.ReadFile(accountFolder + "/ca.crt")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}
	url := fmt.Sprintf("https://%s:%s/version", os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	response, err := client.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, url, response.Status, err)
		os.Exit(1)
	}
	fmt.Printf("reached %s\n%s\n", url, body)
	if err := os.WriteFile("/tmp/reached", body, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	pause()
}
