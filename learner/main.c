#include "learner/service.h"

int main(int argc, char **argv)
{
    return service_main(&learner_service, argc, argv);
}
