// Empty: the test is that the libraries link.
int main() {}
