module nodejoin.dev/e2e/components/pod

go 1.26.0
